"""Inodes that somebody has open, and what this process holds for them."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterator

import trio
from msgspec import structs

from gravitonfs.content.reader import ContentReader
from gravitonfs.content.volume import Volume
from gravitonfs.content.whole import Misses
from gravitonfs.content.writer import FileWriter
from gravitonfs.core.ids import Ino
from gravitonfs.ports.ops import Attr, SetAttr

_SEEN_MAX = 100_000


class OpenInode:
    """One inode while it has handles. ``lock``: at most one task moves its bytes at a time."""

    __slots__ = (
        "attr", "behind", "handles", "later", "later_end", "lock", "misses", "no_capability", "orphan",
        "put_off", "reader", "sealed", "stale", "writer", "writers",
    )  # fmt: skip

    def __init__(self, attr: Attr) -> None:
        self.attr = attr
        self.handles = 0
        self.writers = 0
        self.writer: FileWriter | None = None
        self.reader: ContentReader | None = None
        self.misses = Misses(0)
        self.lock = trio.Lock()
        self.stale = False
        """Another session changed it: ask for its attributes before the next read or write."""
        self.no_capability = False
        """It has no ``security.capability``, which the kernel asks for before every write."""
        self.put_off: SetAttr | None = None
        """Goes with the bytes that wait; only while nobody else has the volume."""
        self.orphan = False
        """It may have lost its last name while open."""
        self.behind = False
        """Its writer is busy with an upload in the background, or one has failed: writes go to ``later``."""
        self.later: deque[tuple[int, bytes, int]] = deque()
        """Offset, bytes, time: in the journal, and not handed to the writer yet."""
        self.later_end = 0
        """Of a file, with what is in ``later``."""
        self.sealed = False
        """Its content was sealed once since it was opened; not again at every close of a duplicate."""

    async def take(self) -> None:
        """The lock, without a pass through the scheduler when it is free; the caller releases it."""
        if self.lock.locked():
            await self.lock.acquire()
        else:
            self.lock.acquire_nowait()

    def put_attributes_off(self, change: SetAttr) -> None:
        """Behind those that wait already."""
        known = structs.asdict(self.put_off) if self.put_off is not None else {}
        known |= {name: value for name, value in structs.asdict(change).items() if value is not None}
        if change.ctime_ns is None:
            known["ctime_ns"] = time.time_ns()
        self.put_off = SetAttr(**known)

    def current_reader(self, volume: Volume) -> ContentReader:
        attr = self.attr
        reader = self.reader
        if reader is None or reader.key != (attr.content, attr.version) or reader.size != attr.size:
            before, reader = reader, volume.reader(attr)
            laid = self.writer.laid if self.writer is not None else None
            if laid is not None:
                reader.lay(laid, before)
            self.reader = reader
            shared = volume.shared
            self.misses = Misses(shared.cache.limit * 15 // 16, far=not shared.near)
        return reader

    def seen(self, attr: Attr) -> Attr:
        """``attr`` as a caller of stat must see it: with what is written but not stored yet, or has been
        stored since ``attr`` was asked for."""
        writer = self.writer
        if writer is not None:
            if writer.dirty:
                attr = attr._replace(size=writer.size, mtime_ns=writer.mtime_ns, ctime_ns=writer.mtime_ns)
            elif writer.newest.version > attr.version:
                attr = writer.newest
        if self.later:
            now = self.later[-1][2]
            attr = attr._replace(size=max(attr.size, self.later_end), mtime_ns=now, ctime_ns=now)
        return attr if self.put_off is None else self.put_off.of(attr, attr.ctime_ns)

    @property
    def dirty(self) -> bool:
        """The namespace does not know all of its bytes yet."""
        return bool(self.later) or (self.writer is not None and self.writer.dirty)

    @property
    def waits(self) -> bool:
        """The namespace does not know all of its bytes or attributes yet."""
        return self.dirty or self.put_off is not None


class OpenInodes:
    """All open inodes of a mount. ``__contains__`` may be called from any thread (a dict look-up)."""

    def __init__(self) -> None:
        self._inodes: dict[Ino, OpenInode] = {}
        self._cached: OrderedDict[Ino, tuple[int, int]] = OrderedDict()

    def __contains__(self, ino: object) -> bool:
        return ino in self._inodes

    def __iter__(self) -> Iterator[OpenInode]:
        return iter(list(self._inodes.values()))

    def __len__(self) -> int:
        return len(self._inodes)

    def get(self, ino: Ino) -> OpenInode | None:
        return self._inodes.get(ino)

    def open(self, attr: Attr, *, writes: bool) -> OpenInode:
        inode = self._inodes.get(attr.ino)
        if inode is None:
            inode = self._inodes[attr.ino] = OpenInode(attr)
        elif inode.writer is None:
            inode.attr = attr
        inode.handles += 1
        inode.writers += writes
        return inode

    def close(self, inode: OpenInode, *, writes: bool) -> bool:
        """Give a handle up; True when it was the last one."""
        inode.handles -= 1
        inode.writers -= writes
        if inode.handles:
            return False
        del self._inodes[inode.attr.ino]
        return True

    def pages_are_current(self, attr: Attr) -> bool:
        """The kernel's pages of this inode are those of this content and version."""
        return self._cached.get(attr.ino) == (attr.content, attr.version)

    def forget_pages(self) -> None:
        """Nothing is known any more of what the kernel's pages are. Any thread."""
        self._cached.clear()

    def remember_pages(self, attr: Attr) -> None:
        """From now on the kernel's pages, if any, are those of ``attr``."""
        self._cached[attr.ino] = (attr.content, attr.version)
        self._cached.move_to_end(attr.ino)
        if len(self._cached) > _SEEN_MAX:
            self._cached.popitem(last=False)
