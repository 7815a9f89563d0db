"""Open files: reads, writes, and when what was written becomes part of the volume."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import trio
from typing_extensions import Buffer

from gravitonfs.content.caching_namespace import CachingNamespace, NotAtHand
from gravitonfs.content.volume import Volume
from gravitonfs.content.whole import around, fetch_rest
from gravitonfs.core.ids import Ino
from gravitonfs.errors import FileTooLarge, GravitonError, ReadOnly, Stale, Unavailable
from gravitonfs.ports.ops import Attr, Disclaim, Truncate
from gravitonfs.vfs.ahead import FilesAhead
from gravitonfs.vfs.openinodes import OpenInode, OpenInodes

log = logging.getLogger("graviton.vfs")

P = ParamSpec("P")
T = TypeVar("T")
_AHEAD_FIRST = 1 << 20
_AHEAD_MAX = 32 << 20
_REQUESTS = 64
"""Of the kernel's, at a time."""


class Pace:
    """Whether the disk is quick enough to be waited for on the event loop.

    A thread and back costs 100 microseconds, a quarter of a random read from a fast disk. After one read
    that took too long the next thousand go to threads.
    """

    __slots__ = ("_start", "_threads")

    LIMIT = 0.002
    PAUSE = 1000

    def __init__(self) -> None:
        self._threads = 0
        self._start = 0.0

    def allows(self) -> bool:
        if self._threads:
            self._threads -= 1
            return False
        return True

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *error: object) -> None:
        if time.monotonic() - self._start > self.LIMIT:
            self._threads = self.PAUSE


class FileHandle:
    """One open(2). ``next`` is where a sequential reader goes on; ``window`` how far it reads ahead."""

    __slots__ = ("ahead_to", "flags", "inode", "next", "window", "writes")

    def __init__(self, inode: OpenInode, flags: int) -> None:
        self.inode = inode
        self.flags = flags
        self.writes = flags & os.O_ACCMODE != os.O_RDONLY
        self.next = 0
        self.window = 0
        self.ahead_to = 0


class Files:
    """The data side of a mount."""

    def __init__(
        self,
        volume: Volume,
        *,
        timeout: float,
        threads: int = 16,
        alone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.volume = volume
        self.open_inodes = OpenInodes()
        self.ahead = FilesAhead(volume)
        self._timeout = timeout
        self._inline = volume.namespace.inline
        self._memory = volume.namespace if isinstance(volume.namespace, CachingNamespace) else None
        # Where each request waits for an answer from elsewhere, none waits for another one's thread, too.
        self._threads = trio.CapacityLimiter(threads if self._inline else _REQUESTS)
        self.tick = 0
        """Rises with every change: pages of directories that were read ahead hold until then."""
        self._alone = alone
        self._pace = Pace()
        self._max_size = volume.namespace.format.max_file_size

    def open(self, attr: Attr, flags: int) -> tuple[FileHandle, bool]:
        """A handle, and whether the kernel may keep the pages it has of this file."""
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if writes and self.volume.namespace.read_only:
            raise ReadOnly("the mount is read-only")
        if not writes:
            self.ahead.opened(attr)
        inode = self.open_inodes.open(attr, writes=writes)
        keep = inode.writer is not None or self.open_inodes.pages_are_current(attr)
        self.open_inodes.remember_pages(attr)
        return FileHandle(inode, flags), keep

    async def read(self, handle: FileHandle, offset: int, size: int) -> Buffer:
        inode = handle.inode
        try:
            return await self._read(handle, offset, size)
        except Stale:
            if self._inline:
                raise
            if self._memory is not None:
                self._memory.forget(inode.attr.ino)
            inode.stale = True  # another session gave the file other bytes, and we have not heard of it yet
            return await self._read(handle, offset, size)

    async def _read(self, handle: FileHandle, offset: int, size: int) -> Buffer:
        inode = handle.inode
        if inode.stale:
            await self._refresh(inode)
        writer = inode.writer
        if writer is not None and writer.overlaps(offset, offset + size):
            await self.flush(inode)
        reader = inode.current_reader(self.volume)
        if offset == handle.next and size:
            await self._read_ahead(handle, offset + size)
        else:
            handle.window = handle.ahead_to = 0
        handle.next = offset + size
        if self._inline or reader.mapped(offset, size):
            data = reader.read_quick(offset, size)
            if data is not None:
                return data
        shared = self.volume.shared
        here_and_there = handle.window == 0
        if here_and_there and inode.misses.enough(reader.size):
            fetch_rest(reader, shared.fetcher, shared.fetch_workers, far=not shared.near)
        if shared.near and self._alone() and self._pace.allows():
            with self._pace:
                return reader.read(offset, size)
        data = await self._thread(partial(reader.read, offset, size))
        if here_and_there and not shared.near and inode.misses.several:
            around(reader, offset)
        return data

    async def _read_ahead(self, handle: FileHandle, end: int) -> None:
        """Keep a window ahead of a sequential reader that doubles up to 32 MiB."""
        if handle.window == 0:
            handle.window = _AHEAD_FIRST
            handle.ahead_to = end
        if handle.ahead_to - end <= handle.window // 2:
            target = end + handle.window
            reader = handle.inode.current_reader(self.volume)
            start = max(handle.ahead_to, end)
            if handle.ahead_to < reader.size:
                if self._inline or reader.mapped(start, target - start):
                    reader.ahead(start, target)
                else:
                    await self._thread(partial(reader.ahead, start, target))
            handle.ahead_to = target
            handle.window = min(handle.window * 2, _AHEAD_MAX)

    async def write(self, handle: FileHandle, offset: int, data: bytes) -> int:
        size = len(data)
        if offset + size > self._max_size:
            raise FileTooLarge(f"files of this volume have at most {self._max_size} bytes")
        inode = handle.inode
        await inode.take()
        try:
            await self._write(inode, offset, data)
        finally:
            inode.lock.release()
        if self.volume.ingest.budget.exceeded():
            await self._make_room(inode)
        return size

    async def _write(self, inode: OpenInode, offset: int, data: bytes) -> None:
        if inode.stale:
            await self._refresh(inode)
        if inode.put_off is not None:
            await self._flush(inode)  # so that this write's time comes after
        writer = inode.writer
        if writer is None:
            writer = inode.writer = self.volume.writer(inode.attr)
        if writer.error is None and writer.write_is_quick(offset, len(data)):
            writer.write(offset, data)
        else:
            await self._thread(partial(writer.write, offset, data))
        if writer.attr is not inode.attr:
            self._adopt(inode, writer.attr)

    async def _make_room(self, inode: OpenInode) -> None:
        """The budget of unstored bytes is used up: this writer waits, and everybody's bytes get going."""
        budget = self.volume.ingest.budget
        if inode.writer is not None:
            inode.writer.push()
        deadline = time.monotonic() + self._timeout
        # Where packs go up whole a flush ends the pack that is being filled: the full ones come first.
        patience = 1.0 if self.volume.ingest.waits else 0.05
        while budget.exceeded():
            if await self._thread(partial(budget.wait, patience)):
                return
            for other in self.open_inodes:
                if not budget.exceeded():
                    return
                if other.writer is not None and other.writer.dirty:
                    await self.flush(other)
            if time.monotonic() > deadline:
                raise Unavailable("the store takes no more data; the bytes written so far are kept")

    async def flush(self, inode: OpenInode, *, seal: bool = False, durable: bool = False) -> None:
        """Everything written so far into the namespace; ``durable`` waits until it survives power loss."""
        await inode.take()
        try:
            await self._flush(inode, seal=seal, durable=durable)
        finally:
            inode.lock.release()

    async def _flush(self, inode: OpenInode, *, seal: bool = False, durable: bool = False) -> None:
        """With the inode's lock."""
        writer = inode.writer
        if writer is None:
            if durable:
                await self.commit()
            return
        put_off = inode.put_off
        if writer.quick and self._inline and not self.volume.ingest.paced:
            writer.flush(seal=seal, durable=durable)
        else:
            await self._thread(partial(writer.flush, seal=seal, durable=durable, attributes=put_off))
        inode.put_off = None
        self._adopt(inode, writer.attr)

    def may_put_off(self, inode: OpenInode) -> bool:
        """A change of attributes may go with the bytes that wait: nobody else looks, and it costs nothing."""
        writer = inode.writer
        return (
            writer is not None and writer.small and not inode.lock.locked()
            and self._memory is not None and self._memory.trusted()
        )  # fmt: skip

    async def settle(self, ino: Ino) -> None:
        """Attributes that wait are in the namespace when this returns."""
        inode = self.open_inodes.get(ino)
        if inode is not None and inode.put_off is not None:
            await self.flush(inode)

    async def settle_all(self) -> None:
        """Before somebody else is let in. What fails is told by the next write, sync or close."""
        for inode in self.open_inodes:
            if inode.put_off is not None:
                try:
                    await self.flush(inode)
                except GravitonError as error:
                    log.info("attributes of inode %d are stored later: %s", inode.attr.ino, error)

    @property
    def page_tick(self) -> int:
        """As ``tick``; what was read while others had the volume is not used once they have gone."""
        return 2 * self.tick + (self._memory is not None and self._memory.trusted())

    def _adopt(self, inode: OpenInode, attr: Attr) -> None:
        self.tick += 1
        if attr.version >= inode.attr.version:
            inode.attr = attr
            self.open_inodes.remember_pages(attr)

    async def commit(self) -> None:
        await self.call(self.volume.commit)

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What asks the namespace: here, where that takes microseconds, else on a worker thread."""
        if self._inline:
            return method(*args, **kwargs)
        return await self._thread(partial(method, *args, **kwargs))

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``call``, for what changes nothing: what is known is answered here, without a thread."""
        if self._inline:
            return method(*args, **kwargs)
        if self._memory is not None:
            try:
                with self._memory.only_known():
                    return method(*args, **kwargs)
            except NotAtHand:
                pass
        return await self._thread(partial(method, *args, **kwargs))

    async def close(self, inode: OpenInode) -> None:
        """close(2) of one descriptor: what was written is visible to others when this returns."""
        if inode.writer is None:
            return
        if inode.sealed:
            if inode.writer.dirty:
                await self.flush(inode)
            return
        inode.sealed = True
        if not self._inline and not inode.lock.locked() and inode.put_off is None:
            sealing = inode.writer.sealing()
            if sealing is not None:
                self.volume.submit_later(sealing)
                return
        await self.flush(inode, seal=True)

    async def release(self, handle: FileHandle) -> None:
        """The last descriptor of an open(2) is gone."""
        inode = handle.inode
        try:
            dirty = inode.writer is not None and inode.writer.dirty
            if handle.writes and (dirty or inode.put_off is not None):
                await self.flush(inode)
        except GravitonError:
            if inode.handles == 1 and inode.writer is not None:
                inode.writer.discard()
                inode.put_off = None
            raise
        finally:
            if self.open_inodes.close(handle.inode, writes=handle.writes) and inode.orphan:
                await self.call(self.volume.submit, Disclaim((inode.attr.ino,)))

    async def truncate(self, ino: Ino, size: int) -> Attr:
        if size > self._max_size:
            raise FileTooLarge(f"files of this volume have at most {self._max_size} bytes")
        inode = self.open_inodes.get(ino)
        if inode is None:
            return await self.call(self.volume.submit_for_attr, Truncate(ino, size))
        await inode.take()
        try:
            writer = inode.writer
            if writer is not None and writer.dirty and size == 0:
                await self._thread(writer.discard)
            if (writer is not None and writer.dirty) or inode.put_off is not None:
                await self._flush(inode)
            attr = await self.call(self.volume.submit_for_attr, Truncate(ino, size))
            if writer is not None:
                writer.reset(attr)
            inode.sealed = False
            self._adopt(inode, attr)
            return attr
        finally:
            inode.lock.release()

    async def flush_all(self) -> None:
        """Everything of every open file into the namespace."""
        for inode in self.open_inodes:
            if (inode.writer is not None and inode.writer.dirty) or inode.put_off is not None:
                await self.flush(inode)

    @property
    def dirty_bytes(self) -> int:
        return self.volume.ingest.budget.used

    async def _refresh(self, inode: OpenInode) -> None:
        inode.stale = False
        try:
            attr = await self.ask(self.volume.namespace.attr, inode.attr.ino)
        except Unavailable:
            inode.stale = True
            raise
        inode.attr = attr
        if inode.writer is not None and not inode.writer.dirty:
            inode.writer.reset(attr)

    async def _thread(self, call: Callable[[], T]) -> T:
        """On a worker thread. Not cancellable: bytes are never left half handed over."""
        return await trio.to_thread.run_sync(call, limiter=self._threads)
