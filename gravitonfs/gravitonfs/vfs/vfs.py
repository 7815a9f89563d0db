"""Names and attributes; with ``Files`` the whole file system."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial

from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NAME_MAX, NO_CONTENT, NO_INO, BlobId, Ino
from gravitonfs.core.snapshots import PAST
from gravitonfs.core.trash import is_trash
from gravitonfs.errors import GravitonError, NameTooLong, NoAttribute, NotPermitted, ReadOnly, Stale
from gravitonfs.ports.namespace import EVERYTHING, Change, ContentKind, Entry, Touched
from gravitonfs.ports.ops import (
    Attr,
    Create,
    Disclaim,
    Link,
    Op,
    Removed,
    RemoveXattr,
    Rename,
    RenameMode,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
)
from gravitonfs.ports.target import Space
from gravitonfs.vfs.directories import DirectoryHandle, Page
from gravitonfs.vfs.files import FileHandle, Files
from gravitonfs.vfs.lookups import Lookups
from gravitonfs.vfs.pace import Beside
from gravitonfs.vfs.space import VolumeSpace, volume_space

log = logging.getLogger("graviton.vfs")

XATTR_DIGEST = b"user.graviton.digest"
XATTR_STAT = b"user.graviton.stat"
XATTR_MOUNT = b"user.graviton.mount"
_CAPABILITY = b"security.capability"

VIRTUAL = (XATTR_DIGEST, XATTR_STAT, XATTR_MOUNT)
"""Attributes that are computed, some of them by asking the store of blocks."""


class Vfs:
    """One mount of a volume. All methods on one event loop; ``changed`` and ``claims`` from any thread."""

    def __init__(
        self,
        volume: Volume,
        *,
        timeout: float = 60.0,
        space: Callable[[], Space] = lambda: Space(0, 0),
        describe: Callable[[], dict[str, object]] = dict,
        alone: Callable[[], bool] = lambda: False,
        beside: Beside | None = None,
    ) -> None:
        """``alone``: the request being answered is the only one, so that nobody is held up by it."""
        self.volume = volume
        self.namespace = volume.namespace
        self._own_writes = volume.session.own_writes
        self.files = Files(volume, timeout=timeout, alone=alone, beside=beside)
        self.lookups = Lookups()
        self.read_only = volume.namespace.read_only
        self._space = space
        self._describe = describe

    # Names.

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        if len(name) > NAME_MAX:
            raise NameTooLong(f"names have at most {NAME_MAX} bytes")
        with self.lookups.asking():
            attr = self._own_writes.current(partial(self.namespace.lookup, parent, name))
            if attr is None:
                return None
            self.lookups.found(parent, name, attr.ino)
        self.files.ahead.seen(parent, name, attr)
        return self._seen(attr)

    def make(
        self, parent: Ino, name: bytes, mode: int, uid: int, gid: int, *, rdev: int = 0, target: bytes = b""
    ) -> Attr:
        """A new inode of any type; ``mode`` says which."""
        op = Create(parent, name, self.volume.new_ino(), mode, uid, gid, rdev, target)
        return self._attr_of(op)

    def link(self, ino: Ino, parent: Ino, name: bytes) -> Attr:
        return self._seen(self._attr_of(Link(ino, parent, name)))

    def unlink(self, parent: Ino, name: bytes) -> None:
        self.lookups.removing(parent, name)
        self._removed(Unlink(parent, name))

    def rmdir(self, parent: Ino, name: bytes) -> None:
        self.lookups.removing(parent, name)
        self._removed(Rmdir(parent, name))

    def rename(self, parent: Ino, name: bytes, new_parent: Ino, new_name: bytes, mode: RenameMode) -> None:
        self.lookups.removing(new_parent, new_name)
        self._removed(Rename(parent, name, new_parent, new_name, mode))

    def readlink(self, ino: Ino) -> bytes:
        return self.namespace.readlink(ino)

    def _removed(self, op: Op) -> None:
        self._writable()
        removed = self.volume.submit(op)[0]
        self.files.tick += 1
        if isinstance(removed, Removed) and removed.kept:
            inode = self.files.open_inodes.get(removed.ino)
            if inode is not None:
                inode.orphan = True

    # Attributes.

    def attr(self, ino: Ino) -> Attr:
        inode = self.files.open_inodes.get(ino)  # it may be closed before the answer has come
        attr = self._attr_now(ino)
        return self._seen(attr) if inode is None else inode.seen(attr)

    def _attr_now(self, ino: Ino) -> Attr:
        return self._own_writes.current(partial(self.namespace.attr, ino))

    async def set_attr(self, change: SetAttr, size: int | None) -> Attr:
        """setattr(2): a change of size and a change of the rest, in this order."""
        self._writable(change.ino)
        inode = self.files.open_inodes.get(change.ino)
        attr: Attr | None = None
        if size is not None:
            attr = await self.files.truncate(change.ino, size)
            self.files.tick += 1
        elif inode is not None and self.files.may_put_off(inode):
            inode.put_attributes_off(change)
            self.files.tick += 1
            return inode.seen(inode.attr)
        elif inode is not None and inode.dirty:
            # What was written before must not set the time once more after this.
            await self.files.flush(inode)
        if attr is None or _changes(change):
            attr = await self.files.change(self._attr_of, change)
            if inode is not None:
                self._keep(attr)
        return self._seen(attr)

    def _keep(self, attr: Attr) -> None:
        inode = self.files.open_inodes.get(attr.ino)
        if inode is None:
            return
        if attr.version == inode.attr.version:
            inode.attr = attr
        if inode.writer is not None and not inode.dirty:
            inode.writer.mtime_ns = attr.mtime_ns

    def _attr_of(self, op: Op) -> Attr:
        self._writable()
        attr = self.volume.submit_for_attr(op)
        self.files.tick += 1
        return attr

    def _seen(self, attr: Attr) -> Attr:
        inode = self.files.open_inodes.get(attr.ino)
        return attr if inode is None else inode.seen(attr)

    def _writable(self, ino: Ino = NO_INO) -> None:
        if self.read_only:
            raise ReadOnly("the mount is read-only")
        if ino >= PAST:
            what = "what is in the trash" if is_trash(ino) else "a snapshot"
            raise ReadOnly(f"{what} cannot be changed")

    # Directories.

    def open_directory(self, ino: Ino) -> DirectoryHandle:
        return DirectoryHandle(ino, self._list, None if self.namespace.inline else self._beside)

    def _beside(self, listing: Callable[[], Sequence[Entry]]) -> Future[Sequence[Entry]] | None:
        try:
            return self.volume.shared.fetch_workers.submit(listing)
        except RuntimeError:
            return None  # they are shut down

    def _list(self, directory: Ino, after: bytes | None, limit: int) -> list[Entry]:
        entries = self.namespace.entries(directory, after, limit)
        self.files.ahead.listed(directory, after, entries, whole=len(entries) < limit)
        return entries

    async def fetch_directory(self, handle: DirectoryHandle, position: int) -> Page:
        """As ``read_directory``; where asking takes long, a page of entries is fetched on a worker thread."""
        coming = handle.coming(position)
        if coming is not None:
            await self.files.call(wait, [coming])
        return await self.files.ask(self.read_directory, handle, position)

    def read_directory(self, handle: DirectoryHandle, position: int) -> Page:
        mark = self._own_writes.mark()
        page = handle.page(position, self.files.page_tick + 2 * mark)
        # Nearly all of a large directory is neither open nor just written: nothing is done for each of those.
        if self.files.open_inodes:
            page = page._replace(entries=[self._listed(entry) for entry in page.entries])
        if self._own_writes.mark() != mark:
            page = page._replace(entries=[self._rewritten(entry, mark) for entry in page.entries])
        return page

    def _listed(self, entry: Entry) -> Entry:
        inode = self.files.open_inodes.get(entry.attr.ino)
        return entry if inode is None else entry._replace(attr=inode.seen(entry.attr))

    def _rewritten(self, entry: Entry, mark: int) -> Entry:
        """Asked again after what is open was looked at: what has been forgotten there was written by then."""
        if not self._own_writes.since(entry.attr.ino, mark):
            return entry
        try:
            return entry._replace(attr=self._seen(self._attr_now(entry.attr.ino)))
        except Stale:
            return entry  # removed meanwhile: it was listed before

    def parent_of(self, ino: Ino) -> Ino:
        """Of a directory; the root is its own."""
        found = self.namespace.parent(ino)
        return ino if found is None else found[0]

    # Files.

    async def create(
        self, parent: Ino, name: bytes, mode: int, uid: int, gid: int, flags: int
    ) -> tuple[FileHandle, Attr]:
        attr = await self.files.change(self.make, parent, name, stat.S_IFREG | stat.S_IMODE(mode), uid, gid)
        handle, _ = self.files.open(attr, flags)
        handle.inode.no_capability = True
        return handle, attr

    async def open(self, ino: Ino, flags: int) -> tuple[FileHandle, bool]:
        attr = await self.files.ask(self._attr_now, ino)
        if ino >= PAST and flags & os.O_ACCMODE != os.O_RDONLY:
            self._writable(ino)
        if flags & os.O_TRUNC and flags & os.O_ACCMODE != os.O_RDONLY:
            self._writable()
            attr = await self.files.truncate(ino, 0)
            self.files.tick += 1
        handle, keep = self.files.open(attr, flags)
        if self.lookups.opened(ino):
            handle.inode.orphan = True
        if handle.writes and self.files.journal is not None and not handle.inode.no_capability:
            # The kernel asks before the first write, and that must not wait for a store that is away then.
            with contextlib.suppress(NoAttribute):
                await self.files.call(self._capability, ino)
        return handle, keep

    async def write(self, handle: FileHandle, offset: int, data: bytes) -> int:
        self.files.tick += 1
        return await self.files.write(handle, offset, data)

    async def fsync(self, handle: FileHandle) -> None:
        await self.files.sync(handle.inode)

    async def sync_all(self) -> None:
        """Store and commit everything, for an unmount."""
        await self.files.flush_all()
        await self.files.commit(own=True)

    def space(self, directory: Ino) -> VolumeSpace:
        """For what comes into a directory: what its quotas leave, and the targets have."""
        usage = self.namespace.usage()
        space = self._space()
        room = self.namespace.room(directory)
        return volume_space(space, usage, room)

    # Extended attributes.

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        if name in VIRTUAL:
            return self._virtual(ino, name)
        if name == _CAPABILITY:
            return self._capability(ino)
        return self.namespace.xattr(ino, name)

    def _capability(self, ino: Ino) -> bytes:
        """Asked before each write: of an open file the answer "none" is remembered."""
        inode = self.files.open_inodes.get(ino)
        if inode is not None and inode.no_capability:
            raise NoAttribute("there is no attribute security.capability")
        try:
            return self.namespace.xattr(ino, _CAPABILITY)
        except NoAttribute:
            if inode is not None:
                inode.no_capability = True
            raise

    def xattrs(self, ino: Ino) -> Sequence[bytes]:
        return [name for name, _ in self.namespace.xattrs(ino)]

    def set_xattr(self, ino: Ino, name: bytes, value: bytes, flags: int = 0) -> None:
        if name in VIRTUAL:
            raise NotPermitted(f"{name.decode()} is computed and cannot be set")
        self._forget_capability(ino)
        self._attr_of(SetXattr(ino, name, value, flags))

    def remove_xattr(self, ino: Ino, name: bytes) -> None:
        if name in VIRTUAL:
            raise NotPermitted(f"{name.decode()} is computed and cannot be removed")
        self._attr_of(RemoveXattr(ino, name))

    def _forget_capability(self, ino: Ino) -> None:
        inode = self.files.open_inodes.get(ino)
        if inode is not None:
            inode.no_capability = False

    def _virtual(self, ino: Ino, name: bytes) -> bytes:
        if name == XATTR_MOUNT:
            return json.dumps(self._describe() | {"ino": ino}).encode()
        self.volume.session.hurry()  # a seal may wait to go with others
        attr = self.namespace.attr(ino)
        if not stat.S_ISREG(attr.mode):
            raise NoAttribute("only files have contents")
        if name == XATTR_STAT:
            return json.dumps(self._extent_figures(attr)).encode()
        if attr.content == NO_CONTENT:
            raise NoAttribute("the file has no digest yet")
        info = self.namespace.content(attr.content)
        if info.kind != ContentKind.SEALED or info.digest is None:
            raise NoAttribute("the file has no digest yet: it is digested when it has been idle")
        return str(BlobId(info.digest, info.length)).encode()

    def _extent_figures(self, attr: Attr) -> dict[str, int]:
        maps = self.namespace.extents(attr.content, 0, attr.size // REGION) if attr.content else []
        extents = [extent for region in maps for extent in region.extents]
        blocks = {extent.block for extent in extents}
        return {
            "content": attr.content,
            "version": attr.version,
            "extents": len(extents),
            "blocks": len(blocks),
            "bytes": sum(extent.length for extent in extents),
            "stored_bytes": self.volume.store.stored_bytes(list(blocks)),
        }

    # What others do.

    def claims(self, ino: Ino) -> bool:
        """For ``attach``: this mount has the inode open. Any thread; must not block."""
        inode = self.files.open_inodes.get(ino)
        if inode is None:
            return self.lookups.claims(ino)
        inode.orphan = True
        return True

    def let_go(self, inos: Sequence[Ino]) -> None:
        """Claimed for an open that has not come. Where it fails they stay until the session ends."""
        unopened = []
        for ino in inos:
            inode = self.files.open_inodes.get(ino)
            if inode is None:
                unopened.append(ino)
            else:
                inode.orphan = True
        if unopened:
            try:
                self.volume.submit(Disclaim(tuple(unopened)))
            except GravitonError as error:
                log.info("%d inodes without names are kept for longer: %s", len(unopened), error)

    def writing(self, ino: Ino) -> bool:
        """Somebody has the inode open for writing. Any thread; must not block."""
        inode = self.files.open_inodes.get(ino)
        return inode is not None and inode.writers > 0

    def open_files(self) -> list[Ino]:
        """Any thread."""
        return [inode.attr.ino for inode in self.files.open_inodes]

    def changed(self, changes: Sequence[Change]) -> None:
        """For ``attach``: another session changed these. Any thread; sets flags only."""
        self.files.tick += 1
        for change in changes:
            if change == EVERYTHING:
                self.volume.maps.clear()
                self.files.open_inodes.forget_pages()
                for opened in self.files.open_inodes:
                    opened.stale = True
            elif change.touched & (Touched.DATA | Touched.ATTR):
                inode = self.files.open_inodes.get(change.ino)
                if inode is not None:
                    inode.stale = True
                    inode.no_capability = False


def _changes(change: SetAttr) -> bool:
    return any(
        value is not None
        for value in (change.mode, change.uid, change.gid, change.atime_ns, change.mtime_ns, change.ctime_ns)
    )
