"""Answers that were on their way while something happened: what a program is told is never from before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.core.ids import ROOT_INO, Ino
from gravitonfs.errors import Stale
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr, RenameMode
from gravitonfs.vfs import lookups
from gravitonfs.vfs.vfs import Vfs


class Slow:
    """A namespace whose answers are given, and arrive only after ``meanwhile`` has been done once."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.meanwhile: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _after(self, answer: Any) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return answer

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        return self._after(self._real.lookup(parent, name))  # type: ignore[no-any-return]

    def attr(self, ino: Ino) -> Attr:
        return self._after(self._real.attr(ino))  # type: ignore[no-any-return]

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> Sequence[Entry]:
        return self._after(self._real.entries(parent, after, limit))  # type: ignore[no-any-return]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    create_embedded(tmp_path / "data")
    with Engine(tmp_path / "data", EngineOptions(memory=48 << 20, background=False)) as engine:
        yield engine


@pytest.fixture
def vfs(engine: Engine) -> Iterator[Vfs]:
    found: list[Vfs] = []
    volume = engine.volume("mount", lambda ino: bool(found) and found[0].claims(ino))
    volume.namespace = Slow(volume.namespace)  # type: ignore[assignment]
    found.append(Vfs(volume))
    yield found[0]
    volume.close()


def listed(vfs: Vfs, ino: Ino) -> Attr:
    return next(
        found.attr
        for found in vfs.read_directory(vfs.open_directory(ROOT_INO), 0).entries
        if found.attr.ino == ino
    )


ASKING: dict[str, Callable[[Vfs, Ino], Attr | None]] = {
    "lookup": lambda vfs, ino: vfs.lookup(ROOT_INO, b"log"),
    "attr": lambda vfs, ino: vfs.attr(ino),
    "list": listed,
}


@pytest.mark.parametrize("how", ASKING)
def test_a_size_is_not_that_before_a_flush(vfs: Vfs, how: str) -> None:
    """What an append was flushed with while the question was on its way: the next would overwrite it."""

    async def program() -> None:
        handle, attr = await vfs.create(ROOT_INO, b"log", 0o644, 0, 0, os.O_RDWR)
        for turn in range(1, 4):
            await vfs.write(handle, 5 * (turn - 1), b"line\n")
            writer = handle.inode.writer
            assert writer is not None
            vfs.namespace.meanwhile = writer.flush  # type: ignore[attr-defined]
            found = ASKING[how](vfs, attr.ino)
            assert found is not None
            assert not writer.dirty
            assert found.size == 5 * turn
        await vfs.files.release(handle)

    trio.run(program)


def test_a_page_shows_what_is_being_written_among_files_that_nobody_has_open(vfs: Vfs) -> None:
    """And what was read on is not used any more once something has changed."""

    async def program() -> None:
        for number in range(20):
            made, _ = await vfs.create(ROOT_INO, b"%02d" % number, 0o644, 0, 0, os.O_RDWR)
            await vfs.files.release(made)
        handle, attr = await vfs.create(ROOT_INO, b"log", 0o644, 0, 0, os.O_RDWR)
        directory = vfs.open_directory(ROOT_INO)
        for size in range(1, 4):
            await vfs.write(handle, size - 1, b"x")
            whole = vfs.read_directory(directory, 0).entries
            assert [entry.attr.size for entry in whole] == [0] * 20 + [size]
            rest = (await vfs.fetch_directory(directory, 15)).entries
            assert rest == whole[15:]
        await vfs.files.release(handle)
        assert (await vfs.fetch_directory(directory, 20)).entries[0].attr.size == 3
        assert attr.size == 0

    trio.run(program)


def test_what_was_looked_up_can_be_opened_although_it_was_replaced(vfs: Vfs, engine: Engine) -> None:
    other = engine.volume("other")

    async def put(name: bytes, data: bytes) -> Ino:
        there = Vfs(other)
        handle, attr = await there.create(ROOT_INO, name, 0o644, 0, 0, os.O_RDWR)
        await there.write(handle, 0, data)
        await there.files.release(handle)
        return attr.ino

    def replace() -> None:
        Vfs(other).rename(ROOT_INO, b"new", ROOT_INO, b"f", RenameMode.REPLACE)

    async def program() -> None:
        now = 100.0
        vfs.lookups = lookups.Lookups(lambda: now)
        for late in (False, True):
            old = await put(b"f", b"old") if not late else vfs.namespace.lookup(ROOT_INO, b"f").ino  # type: ignore[union-attr]
            expected = b"new" if late else b"old"
            await put(b"new", b"new")
            if late:
                vfs.namespace.meanwhile = replace  # type: ignore[attr-defined]
            found = vfs.lookup(ROOT_INO, b"f")
            assert found is not None
            assert found.ino == old
            if not late:
                replace()
            handle, _ = await vfs.open(old, os.O_RDONLY)
            assert bytes(await vfs.files.read(handle, 0, 10)) == expected
            await vfs.files.release(handle)
            with pytest.raises(Stale):
                other.namespace.attr(old)
        # One that is not opened is let go after a while.
        last = vfs.lookup(ROOT_INO, b"f")
        assert last is not None
        await put(b"new", b"newest")
        replace()
        assert other.namespace.attr(last.ino).nlink == 0
        vfs.let_go(vfs.lookups.over())
        assert other.namespace.attr(last.ino).nlink == 0
        now += 2 * lookups.KEEP
        vfs.let_go(vfs.lookups.over())
        with pytest.raises(Stale):
            other.namespace.attr(last.ino)
        # And what this mount removes itself is not kept.
        gone = vfs.lookup(ROOT_INO, b"f")
        assert gone is not None
        vfs.unlink(ROOT_INO, b"f")
        with pytest.raises(Stale):
            other.namespace.attr(gone.ino)

    trio.run(program)
    other.close()
