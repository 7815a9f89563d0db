"""The disk behind forgetfs: what programs see now, what is durable, and what lies between.

Below the backing directory, ``live/<ino>`` has a file's bytes as programs see them and
``durable/<ino>`` those that a power cut leaves; ``tree`` is a plain directory: where a disk starts
from, and what it leaves behind. One thread only.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = 1
SECTOR = 512
DIRTY_LIMIT = 256 << 20
"""Unsynced bytes kept; beyond, the oldest become durable, as a kernel writes back when it needs memory."""


class Write(NamedTuple):
    offset: int
    data: bytes


class Resize(NamedTuple):
    size: int


class Event(NamedTuple):
    """One change of names, atomic: (directory, name, inode or 0) each."""

    changes: tuple[tuple[int, bytes, int], ...]

    def directories(self) -> set[int]:
        return {directory for directory, _, _ in self.changes}


class Inode:
    __slots__ = (
        "children",
        "durable",
        "gid",
        "ino",
        "mode",
        "nlink",
        "pending",
        "size",
        "target",
        "times",
        "uid",
    )

    def __init__(self, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.ino = ino
        self.mode = mode
        self.uid, self.gid = uid, gid
        self.nlink = 2 if stat.S_ISDIR(mode) else 1
        self.size = 0
        self.times = [time.time_ns()] * 3
        self.target = b""
        self.pending: list[Write | Resize] = []
        self.children: dict[bytes, int] = {}
        """A directory's names as programs see them."""
        self.durable: dict[bytes, int] = {}
        """A directory's names as a power cut leaves them."""


class Disk:
    def __init__(self, backing: Path) -> None:
        self.backing = backing
        self.live = backing / "live"
        self.durable = backing / "durable"
        self.tree = backing / "tree"
        self.journal: list[Event] = []
        self.dirty = 0
        for folder in (self.live, self.durable):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.tree.mkdir(exist_ok=True)
        self.inodes: dict[int, Inode] = {}
        self._load(self.tree, {})

    def _load(self, path: Path, known: dict[int, int]) -> int:
        found = os.lstat(path)
        if found.st_ino in known:
            self.inodes[known[found.st_ino]].nlink += 1
            return known[found.st_ino]
        inode = self.new_inode(found.st_mode, found.st_uid, found.st_gid)
        known[found.st_ino] = inode.ino
        if stat.S_ISDIR(found.st_mode):
            for name in sorted(os.listdir(os.fsencode(path))):
                inode.children[name] = self._load(path / os.fsdecode(name), known)
            inode.durable = dict(inode.children)
        elif stat.S_ISLNK(found.st_mode):
            inode.target = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(found.st_mode):
            inode.size = found.st_size
            shutil.copyfile(path, self.durable / str(inode.ino))
            shutil.copyfile(path, self.live / str(inode.ino))
        return inode.ino

    def new_inode(self, mode: int, uid: int, gid: int) -> Inode:
        inode = Inode(len(self.inodes) + 1, mode, uid, gid)
        self.inodes[inode.ino] = inode
        if stat.S_ISREG(mode):
            (self.live / str(inode.ino)).touch()
            (self.durable / str(inode.ino)).touch()
        return inode

    # Changes: seen at once, durable later.

    def rename_entries(self, *changes: tuple[int, bytes, int]) -> None:
        for directory, name, ino in changes:
            if ino:
                self.inodes[directory].children[name] = ino
            else:
                del self.inodes[directory].children[name]
        self.journal.append(Event(changes))

    def write(self, inode: Inode, descriptor: int, offset: int, data: bytes) -> None:
        os.pwrite(descriptor, data, offset)
        inode.size = max(inode.size, offset + len(data))
        inode.times[1] = inode.times[2] = time.time_ns()
        self._remember(inode, Write(offset, data))

    def resize(self, inode: Inode, size: int) -> None:
        os.truncate(self.live / str(inode.ino), size)
        inode.size = size
        self._remember(inode, Resize(size))

    def _remember(self, inode: Inode, change: Write | Resize) -> None:
        inode.pending.append(change)
        if isinstance(change, Write):
            self.dirty += len(change.data)
        while self.dirty > DIRTY_LIMIT:
            self.sync_file(max(self.inodes.values(), key=lambda found: len(found.pending)))

    # What makes durable.

    def sync_file(self, inode: Inode) -> None:
        """The file's bytes and size; not its name."""
        self._apply(inode, inode.pending)
        self.dirty -= sum(len(change.data) for change in inode.pending if isinstance(change, Write))
        inode.pending = []

    def sync_directory(self, directory: int) -> None:
        """The directory's names, with what any change that spans directories needs to be whole."""
        wanted = {directory: len(self.journal)}
        chosen: set[int] = set()
        grown = True
        while grown:
            grown = False
            for index, event in enumerate(self.journal):
                touched = event.directories()
                if index in chosen or all(wanted.get(found, -1) < index for found in touched):
                    continue
                chosen.add(index)
                for found in touched:
                    if wanted.get(found, -1) < index:
                        wanted[found] = index
                        grown = True
        self._commit(event for index, event in enumerate(self.journal) if index in chosen)
        self.journal = [event for index, event in enumerate(self.journal) if index not in chosen]

    def _commit(self, events: Iterable[Event]) -> None:
        for event in events:
            for directory, name, ino in event.changes:
                if ino:
                    self.inodes[directory].durable[name] = ino
                else:
                    self.inodes[directory].durable.pop(name, None)

    def _apply(self, inode: Inode, changes: Iterable[Write | Resize]) -> None:
        with open(self.durable / str(inode.ino), "r+b", buffering=0) as file:
            for change in changes:
                if isinstance(change, Resize):
                    file.truncate(change.size)
                else:
                    os.pwrite(file.fileno(), change.data, change.offset)

    # The end.

    def cut_power(self, seed: int) -> None:
        """Keep what is durable, and of the rest what ``seed`` says that the disk had written by chance.

        Seed 0 keeps nothing of it. Names survive as a prefix of their changes, as a journal would
        have them; data in any order, torn at sectors.
        """
        chance = random.Random(seed)
        if seed:
            if chance.random() < 0.5:
                self._commit(self.journal[: chance.randint(0, len(self.journal))])
            for inode in self.inodes.values():
                if inode.pending:
                    self._apply(inode, _survivors(inode.pending, chance))
        self._save()

    def settle(self) -> None:
        """A clean shutdown: everything reaches the disk."""
        self._commit(self.journal)
        for inode in self.inodes.values():
            if inode.pending:
                self._apply(inode, inode.pending)
        self._save()

    def _save(self) -> None:
        shutil.rmtree(self.tree)
        self._save_below(self.inodes[ROOT], self.tree, {})
        shutil.rmtree(self.live)
        shutil.rmtree(self.durable)

    def _save_below(self, inode: Inode, path: Path, made: dict[int, Path]) -> None:
        kind = stat.S_IFMT(inode.mode)
        if kind == stat.S_IFDIR:
            path.mkdir()
            for name, ino in inode.durable.items():
                self._save_below(self.inodes[ino], path / os.fsdecode(name), made)
        elif inode.ino in made:
            path.hardlink_to(made[inode.ino])
            return
        elif kind == stat.S_IFLNK:
            path.symlink_to(os.fsdecode(inode.target))
        elif kind == stat.S_IFREG:
            os.link(self.durable / str(inode.ino), path)
        else:
            return  # a socket or FIFO of a process that is gone
        made[inode.ino] = path
        os.chown(path, inode.uid, inode.gid, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            path.chmod(stat.S_IMODE(inode.mode))


def _survivors(pending: list[Write | Resize], chance: random.Random) -> Iterable[Write | Resize]:
    """What the disk had written of these: nothing, the first ones, or any sectors."""
    mode = chance.choice(("none", "prefix", "sectors"))
    if mode == "none":
        return []
    kept = pending[: chance.randint(0, len(pending))]
    if mode == "prefix":
        return kept
    result: list[Write | Resize] = []
    for change in kept:
        if isinstance(change, Resize):
            result.append(change)
            continue
        for start in range(0, len(change.data), SECTOR):
            if chance.random() < 0.5:
                result.append(Write(change.offset + start, change.data[start : start + SECTOR]))
    return result
