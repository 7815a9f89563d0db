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
from gravitonfs.content.writer import FileWriter
from gravitonfs.core.ids import Ino
from gravitonfs.errors import FileTooLarge, GravitonError, ReadOnly, Stale, Unavailable
from gravitonfs.journal.journal import Journal
from gravitonfs.ports.ops import Attr, Disclaim, Truncate
from gravitonfs.vfs.ahead import FilesAhead
from gravitonfs.vfs.openinodes import OpenInode, OpenInodes
from gravitonfs.vfs.pace import Beside, Pace
from gravitonfs.vfs.uploads import Uploads

log = logging.getLogger("graviton.vfs")

P = ParamSpec("P")
T = TypeVar("T")
_AHEAD_FIRST = 1 << 20
_AHEAD_MAX = 32 << 20
_REQUESTS = 64
"""Of the kernel's, at a time."""


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
        beside: Beside | None = None,
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
        self._beside = beside
        self._pace = Pace()
        self.journal = volume.journal
        self.given_up: Callable[[Ino], None] = lambda ino: None  # what was written to it is not in it
        self.uploads = Uploads(volume.namespace, volume.journal)
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
        if inode.later or (writer is not None and writer.overlaps(offset, offset + size)):
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
        if self.journal is not None and self.journal.full:
            await self._make_room_in_journal(self.journal)
        if self.journal is not None and inode.behind:
            self._write_later(inode, offset, data, self.journal)
        else:
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
        if self.journal is not None:
            if inode.behind or not (writer.error is None and writer.write_is_quick(offset, len(data))):
                inode.behind = True  # it would have to store something first: that is not waited for
                self._write_later(inode, offset, data, self.journal)
                self.uploads.wanted(inode)
                return
            self.journal.write(inode.attr, offset, data, time.time_ns())
        await self._hand_over(inode, writer, offset, data)

    async def _hand_over(self, inode: OpenInode, writer: FileWriter, offset: int, data: bytes) -> None:
        if writer.error is None and writer.write_is_quick(offset, len(data)):
            writer.write(offset, data)
        else:
            await self._thread(partial(writer.write, offset, data))
        if writer.attr is not inode.attr:
            self._adopt(inode, writer.attr)

    def _write_later(self, inode: OpenInode, offset: int, data: bytes, journal: Journal) -> None:
        """The writer is busy with the store: that must not hold up who writes."""
        now = time.time_ns()
        journal.write(inode.attr, offset, data, now)
        inode.later.append((offset, data, now))
        inode.later_end = max(inode.later_end, offset + len(data))
        self.volume.ingest.budget.add(len(data))

    async def _catch_up(self, inode: OpenInode) -> None:
        """Lock held: the writer gets what came while it was busy. What it refuses stays for the next try."""
        while inode.later:
            offset, data, _ = inode.later[0]
            writer = inode.writer
            if writer is None:
                writer = inode.writer = self.volume.writer(inode.attr)
            await self._hand_over(inode, writer, offset, data)
            inode.later.popleft()
            if not inode.later:
                inode.later_end = 0
            self.volume.ingest.budget.release(len(data))
        inode.behind = False

    async def _make_room_in_journal(self, journal: Journal) -> None:
        deadline = time.monotonic() + self._timeout
        while journal.full:
            self.uploads.hurry()
            with trio.move_on_after(max(deadline - time.monotonic(), 0.0)):
                await self.uploads.progress()
            if journal.full and time.monotonic() > deadline:
                raise Unavailable(
                    f"the journal in {journal.directory} is full ({journal.held_bytes} bytes), and the store"
                    " does not take them"
                )

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
                if other.dirty:
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
        if inode.behind:
            await self._catch_up(inode)
        writer = inode.writer
        if writer is None:
            if durable:
                await self.commit()
            return
        await self._store(inode, writer, seal=seal, durable=durable)

    async def _store(
        self, inode: OpenInode, writer: FileWriter, *, seal: bool = False, durable: bool = False
    ) -> None:
        """What the writer has, and the attributes that wait, into the namespace."""
        recorded = self.journal.last_of(inode.attr.ino) if self.journal is not None else 0
        put_off = inode.put_off
        if writer.quick and self._inline and not self.volume.ingest.paced:
            writer.flush(seal=seal, durable=durable)
        else:
            flush = partial(writer.flush, seal=seal, durable=durable, attributes=put_off)
            if self._beside is not None and writer.small:
                await self._beside.run(flush, self._thread)
            else:
                await self._thread(flush)
        inode.put_off = None
        self._adopt(inode, writer.attr)
        if self.journal is not None:
            self.journal.applied(inode.attr.ino, recorded)
            self.uploads.bounded.ask_soon()

    async def upload(self, inode: OpenInode) -> None:
        """As ``flush``, in the background: who writes meanwhile does not wait for it."""
        await inode.take()
        try:
            if self.open_inodes.get(inode.attr.ino) is not inode:
                return  # closed, and so stored, meanwhile
            inode.behind = True
            writer = inode.writer
            if writer is not None and writer.error is not None:
                await self._thread(writer.flush)  # once more, before it takes anything else
            await self._catch_up(inode)
            inode.behind = True
            if inode.writer is not None:
                await self._store(inode, inode.writer)
            await self._catch_up(inode)
        finally:
            inode.lock.release()

    async def sync(self, inode: OpenInode) -> None:
        """fsync(2): what was written survives power loss, in the journal where there is one."""
        if not await self._synced_here():
            await self.flush(inode, durable=True)
        elif inode.dirty:
            self.uploads.wanted(inode)

    async def _synced_here(self) -> bool:
        """The journal has everything on disk. No longer when that disk has failed: the store answers then."""
        if self.journal is None or self.journal.failure is not None or self.uploads.bounded.known:
            return False
        try:
            await self._thread(self.journal.sync)
        except Unavailable:
            return False
        self.uploads.commit_soon()
        return True

    async def sync_names(self) -> None:
        """fsync(2) of a directory."""
        if not await self._synced_here():
            await self.commit()

    def may_put_off(self, inode: OpenInode) -> bool:
        """A change of attributes may go with the bytes that wait: nobody else looks, and it costs nothing."""
        writer = inode.writer
        return (
            writer is not None and writer.small and not inode.lock.locked() and self.journal is None
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

    async def commit(self, *, own: bool = False) -> None:
        await self.change(self.volume.commit, own=own)

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What asks the namespace: here, where that takes microseconds, else on a worker thread."""
        if self._inline:
            return method(*args, **kwargs)
        return await self._thread(partial(method, *args, **kwargs))

    async def change(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``call``, for one change of the namespace, with nothing before it that cannot be begun again:
        where its outcome is known it is answered here."""
        if self._memory is None or self._memory.answering is None:
            return await self.call(method, *args, **kwargs)
        return await self.ask(method, *args, **kwargs)

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``call``, for what can be begun again: what is known is answered here, without a thread."""
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
            if inode.dirty:
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
            if handle.writes and inode.waits:
                await self.flush(inode)
        except GravitonError:
            if inode.handles == 1 and self.journal is not None:
                inode.handles += 1  # the journal has promised these bytes: they are stored later
                self.uploads.keep(inode)
            elif inode.handles == 1 and inode.writer is not None:
                inode.writer.discard()
                inode.put_off = None
                await self._thread(partial(self.given_up, inode.attr.ino))
            raise
        finally:
            await self._let_go(inode, writes=handle.writes)

    async def _let_go(self, inode: OpenInode, *, writes: bool) -> None:
        if self.open_inodes.close(inode, writes=writes) and inode.orphan:
            await self.change(self.volume.submit, Disclaim((inode.attr.ino,)))

    async def give_up(self, inode: OpenInode) -> None:
        """What cannot be stored is left to the journal."""
        await inode.take()
        try:
            for _, data, _ in inode.later:
                self.volume.ingest.budget.release(len(data))
            inode.later.clear()
            if inode.writer is not None:
                await self._thread(inode.writer.discard)
        finally:
            inode.lock.release()

    async def uploaded(self, inode: OpenInode) -> None:
        """One that was kept for that alone."""
        await self._let_go(inode, writes=False)

    async def truncate(self, ino: Ino, size: int) -> Attr:
        if size > self._max_size:
            raise FileTooLarge(f"files of this volume have at most {self._max_size} bytes")
        inode = self.open_inodes.get(ino)
        if inode is None:
            if self.journal is not None:
                self.journal.resizing(await self.call(self.volume.namespace.attr, ino))
            return await self.change(self.volume.submit_for_attr, Truncate(ino, size))
        await inode.take()
        try:
            if inode.behind:
                await self._catch_up(inode)
            recorded = self.journal.last_of(ino) if self.journal is not None else 0
            writer = inode.writer
            if writer is not None and writer.dirty and size == 0 and self.journal is None:
                await self._thread(writer.discard)  # what a journal has answered for must outlive a failure
            if (writer is not None and writer.dirty) or inode.put_off is not None:
                await self._flush(inode)
            if self.journal is not None:
                self.journal.resizing(inode.attr)
            attr = await self.change(self.volume.submit_for_attr, Truncate(ino, size))
            if writer is not None:
                writer.reset(attr)
            if self.journal is not None:
                self.journal.applied(ino, recorded)
            inode.sealed = False
            self._adopt(inode, attr)
            return attr
        finally:
            inode.lock.release()

    async def flush_all(self) -> None:
        """Everything of every open file into the namespace."""
        for inode in self.open_inodes:
            if inode.waits:
                await self.flush(inode)

    @property
    def dirty_bytes(self) -> int:
        return self.volume.ingest.budget.used

    async def _refresh(self, inode: OpenInode) -> None:
        inode.stale = False
        try:
            ask = partial(self.volume.namespace.attr, inode.attr.ino)
            attr = await self.ask(self.volume.session.own_writes.current, ask)
        except Unavailable:
            inode.stale = True
            raise
        inode.attr = attr
        if inode.writer is not None and not inode.dirty:
            inode.writer.reset(attr)

    async def _thread(self, call: Callable[[], T]) -> T:
        """On a worker thread. Not cancellable: bytes are never left half handed over."""
        return await trio.to_thread.run_sync(call, limiter=self._threads)
