"""A history of durable operations, the same for a seed: one process carries it out, another checks it.

After ``n`` acknowledged operations the directory must be in state ``n``, but for the paths that
operation ``n + 1`` touches: that one may have happened, or not, or partly where its kind allows.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

State = dict[str, bytes]
KINDS = (
    "create",
    "create",
    "create",
    "append",
    "overwrite",
    "truncate",
    "replace",
    "rename",
    "unlink",
    "big",
)
BIG = 6 << 20


class Operation(NamedTuple):
    kind: str
    path: str
    target: str = ""
    data: bytes = b""
    offset: int = 0

    def touched(self) -> set[str]:
        return {self.path, self.target} - {""}

    def after(self, state: State) -> State:
        """The state once this is done."""
        result = dict(state)
        if self.kind in ("create", "big", "replace"):
            result[self.path] = self.data
        elif self.kind in ("append", "overwrite"):
            old = result[self.path]
            result[self.path] = old[: self.offset] + self.data + old[self.offset + len(self.data) :]
        elif self.kind == "truncate":
            result[self.path] = result[self.path][: self.offset].ljust(self.offset, b"\0")
        elif self.kind == "rename":
            result[self.target] = result.pop(self.path)
        else:
            del result[self.path]
        return result

    def carry_out(self, root: Path) -> None:
        """Do it, and return when the system has acknowledged that it is durable."""
        path = root / self.path
        if self.kind in ("create", "big"):
            _write(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.data, 0)
        elif self.kind in ("append", "overwrite"):
            _write(path, os.O_WRONLY, self.data, self.offset)
        elif self.kind == "replace":
            temporary = root / f".{self.path}.new"
            _write(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, self.data, 0)
            os.rename(temporary, path)
            _sync(root)
        elif self.kind == "truncate":
            with path.open("r+b", buffering=0) as file:
                file.truncate(self.offset)
                os.fsync(file.fileno())
        elif self.kind == "rename":
            os.rename(path, root / self.target)
            _sync(root)
        else:
            os.unlink(path)
            _sync(root)

    def may_leave(self, old: bytes | None, found: bytes | None) -> bool:
        """Whether ``self.path`` may read as ``found`` when this was under way and it read ``old`` before."""
        if found == old:
            return True
        done = self.after({self.path: old} if old is not None else {}).get(self.path)
        if self.kind in ("replace", "rename", "unlink", "truncate"):
            return found == done
        if found is None or done is None:
            return False
        return len(old or b"") <= len(found) <= max(len(done), len(old or b"")) and _mixed(
            found, (old or b"").ljust(len(found), b"\0"), done
        )


def _mixed(found: bytes, before: bytes, done: bytes) -> bool:
    """Every byte is the old or the new one, or a hole's zero where neither has come yet."""
    for start in range(0, len(found), 4096):
        here, old, new = (data[start : start + 4096] for data in (found, before, done))
        if here in (old, new[: len(here)]):
            continue
        if not all(byte in (first, second) for byte, first, second in zip(here, old, new, strict=False)):
            return False
    return True


def _write(path: Path, flags: int, data: bytes, offset: int) -> None:
    """The fsync of a file makes its name durable too."""
    descriptor = os.open(path, flags, 0o644)
    try:
        view = memoryview(data)
        for start in range(0, len(view), 1 << 17):
            os.pwrite(descriptor, view[start : start + (1 << 17)], offset + start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bytes(chance: random.Random, size: int) -> bytes:
    """Half of what is written is compressible, and a quarter was there before."""
    pool = random.Random(chance.randrange(4)) if chance.random() < 0.25 else chance
    return pool.randbytes(size) if chance.random() < 0.5 else pool.randbytes(size // 16 + 1)[:size] * 16


def operations(seed: int) -> Iterator[tuple[State, Operation]]:
    """Without end: the state before each operation, and the operation."""
    chance = random.Random(seed)
    state: State = {}
    number = 0
    while True:
        number += 1
        kind = chance.choice(KINDS)
        names = sorted(state)
        if len(names) < 3:
            kind = "create"
        path = chance.choice(names) if names else ""
        size = chance.choice((1, 100, 4096, 5000, 70_000, 300_000))
        if kind in ("create", "big"):
            data = chance.randbytes(BIG) if kind == "big" else _bytes(chance, size)
            operation = Operation(kind, f"file-{number}", data=data)
        elif kind in ("append", "overwrite"):
            end = len(state[path])
            offset = end if kind == "append" else chance.randint(0, end)
            operation = Operation(kind, path, data=_bytes(chance, size), offset=offset)
        elif kind == "truncate":
            operation = Operation(kind, path, offset=chance.randint(0, len(state[path]) + 5000))
        elif kind == "replace":
            operation = Operation(kind, path, data=_bytes(chance, size))
        elif kind == "rename":
            operation = Operation(kind, path, chance.choice((f"name-{number}", chance.choice(names))))
            if operation.path == operation.target:
                continue
        else:
            operation = Operation(kind, path)
        yield state, operation
        state = operation.after(state)


def state_after(seed: int, acknowledged: int) -> tuple[State, Operation]:
    """The state that so many operations leave, and the one that may have been under way."""
    for number, (state, operation) in enumerate(operations(seed)):
        if number == acknowledged:
            return state, operation
    raise AssertionError("operations never end")


def check(root: Path, seed: int, acknowledged: int) -> None:
    """Every acknowledged byte and name is there, and nothing that was never written."""
    state, under_way = state_after(seed, acknowledged)
    found = {path.name: path.read_bytes() for path in root.iterdir() if not path.name.startswith(".")}
    touched = under_way.touched()
    when = f"(seed {seed}, {acknowledged} acknowledged)"
    for name in (state.keys() | found.keys()) - touched:
        assert name in found, f"{name} is gone {when}"
        assert name in state, f"{name} should not be there {when}"
        _same(found[name], state[name], f"{name} {when}")
    if under_way.kind == "rename":
        after = under_way.after(state)
        seen = {name: found[name] for name in touched if name in found}
        assert seen in ({name: held[name] for name in touched if name in held} for held in (state, after)), (
            f"a rename was torn {when}"
        )
    else:
        name = under_way.path
        assert under_way.may_leave(state.get(name), found.get(name)), (
            f"{under_way.kind} of {name} left what was never written {when}"
        )


def _same(found: bytes, wanted: bytes, what: str) -> None:
    if found != wanted:
        pairs = enumerate(zip(found, wanted, strict=False))
        first = next((index for index, (a, b) in pairs if a != b), min(len(found), len(wanted)))
        raise AssertionError(
            f"{what}: {len(found)} bytes where {len(wanted)} were acknowledged, other from byte {first}"
        )
