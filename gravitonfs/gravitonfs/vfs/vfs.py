"""Names and attributes; with ``Files`` the whole file system."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import REGION
from gravitonfs.core.ids import NAME_MAX, NO_CONTENT, BlobId, Ino
from gravitonfs.errors import NameTooLong, NoAttribute, NotPermitted, ReadOnly
from gravitonfs.ports.namespace import EVERYTHING, Change, ContentKind, Entry, Touched
from gravitonfs.ports.ops import (
    Attr,
    Create,
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
from gravitonfs.vfs.directories import DirectoryHandle, Numbered
from gravitonfs.vfs.files import FileHandle, Files

XATTR_DIGEST = b"user.graviton.digest"
XATTR_STAT = b"user.graviton.stat"
XATTR_MOUNT = b"user.graviton.mount"
_CAPABILITY = b"security.capability"

_VIRTUAL = (XATTR_DIGEST, XATTR_STAT, XATTR_MOUNT)


class VolumeSpace:
    """What statfs shows. Bytes and inodes."""

    __slots__ = ("free", "inodes", "total")

    def __init__(self, total: int, free: int, inodes: int) -> None:
        self.total = total
        self.free = free
        self.inodes = inodes


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
    ) -> None:
        """``alone``: the request being answered is the only one, so that nobody is held up by it."""
        self.volume = volume
        self.namespace = volume.namespace
        self.files = Files(volume, timeout=timeout, alone=alone)
        self.read_only = volume.namespace.read_only
        self._space = space
        self._describe = describe
        self._tick = 0

    # Names.

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        if len(name) > NAME_MAX:
            raise NameTooLong(f"names have at most {NAME_MAX} bytes")
        attr = self.namespace.lookup(parent, name)
        if attr is None:
            return None
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
        self._removed(Unlink(parent, name))

    def rmdir(self, parent: Ino, name: bytes) -> None:
        self._removed(Rmdir(parent, name))

    def rename(self, parent: Ino, name: bytes, new_parent: Ino, new_name: bytes, mode: RenameMode) -> None:
        self._removed(Rename(parent, name, new_parent, new_name, mode))

    def readlink(self, ino: Ino) -> bytes:
        return self.namespace.readlink(ino)

    def _removed(self, op: Op) -> None:
        self._writable()
        removed = self.volume.submit(op)[0]
        self._tick += 1
        if isinstance(removed, Removed) and removed.kept:
            inode = self.files.open_inodes.get(removed.ino)
            if inode is not None:
                inode.orphan = True

    # Attributes.

    def attr(self, ino: Ino) -> Attr:
        return self._seen(self.namespace.attr(ino))

    async def set_attr(self, change: SetAttr, size: int | None) -> Attr:
        """setattr(2): a change of size and a change of the rest, in this order."""
        self._writable()
        inode = self.files.open_inodes.get(change.ino)
        attr: Attr | None = None
        if size is not None:
            attr = await self.files.truncate(change.ino, size)
            self._tick += 1
        elif inode is not None and inode.writer is not None and inode.writer.dirty:
            # What was written before must not set the time once more after this.
            await self.files.flush(inode)
        if attr is None or _changes(change):
            attr = await self.files.call(self._attr_of, change)
            if inode is not None:
                self._keep(attr)
        return self._seen(attr)

    def _keep(self, attr: Attr) -> None:
        inode = self.files.open_inodes.get(attr.ino)
        if inode is None:
            return
        if attr.version == inode.attr.version:
            inode.attr = attr
        if inode.writer is not None and not inode.writer.dirty:
            inode.writer.mtime_ns = attr.mtime_ns

    def _attr_of(self, op: Op) -> Attr:
        self._writable()
        attr = self.volume.submit_for_attr(op)
        self._tick += 1
        return attr

    def _seen(self, attr: Attr) -> Attr:
        inode = self.files.open_inodes.get(attr.ino)
        return attr if inode is None else inode.seen(attr)

    def _writable(self) -> None:
        if self.read_only:
            raise ReadOnly("the mount is read-only")

    # Directories.

    def open_directory(self, ino: Ino) -> DirectoryHandle:
        return DirectoryHandle(ino, self._list)

    def _list(self, directory: Ino, after: bytes | None, limit: int) -> list[Entry]:
        entries = self.namespace.entries(directory, after, limit)
        self.files.ahead.listed(directory, after, entries, whole=len(entries) < limit)
        return entries

    async def fetch_directory(self, handle: DirectoryHandle, position: int) -> Iterator[Numbered]:
        """As ``read_directory``; where asking takes long, a page of entries is fetched on a worker thread."""
        if self.namespace.inline:
            return self.read_directory(handle, position)
        page = await self.files.call(handle.page, position, self._tick)
        return iter([Numbered(at, Entry(e.name, self._seen(e.attr), e.digest)) for at, e in page])

    def read_directory(self, handle: DirectoryHandle, position: int) -> Iterator[Numbered]:
        for position_after, entry in handle.read(position, self._tick):
            yield Numbered(position_after, Entry(entry.name, self._seen(entry.attr), entry.digest))

    def parent_of(self, ino: Ino) -> Ino:
        """Of a directory; the root is its own."""
        found = self.namespace.parent(ino)
        return ino if found is None else found[0]

    # Files.

    async def create(
        self, parent: Ino, name: bytes, mode: int, uid: int, gid: int, flags: int
    ) -> tuple[FileHandle, Attr]:
        attr = await self.files.call(self.make, parent, name, stat.S_IFREG | stat.S_IMODE(mode), uid, gid)
        handle, _ = self.files.open(attr, flags)
        handle.inode.no_capability = True
        return handle, attr

    async def open(self, ino: Ino, flags: int) -> tuple[FileHandle, bool]:
        attr = await self.files.call(self.namespace.attr, ino)
        if flags & os.O_TRUNC and flags & os.O_ACCMODE != os.O_RDONLY:
            self._writable()
            attr = await self.files.truncate(ino, 0)
            self._tick += 1
        return self.files.open(attr, flags)

    async def write(self, handle: FileHandle, offset: int, data: bytes) -> int:
        self._tick += 1
        return await self.files.write(handle, offset, data)

    async def fsync(self, handle: FileHandle) -> None:
        await self.files.flush(handle.inode, durable=True)

    async def sync_all(self) -> None:
        """Store and commit everything, for an unmount."""
        await self.files.flush_all()
        await self.files.commit()

    def space(self) -> VolumeSpace:
        usage = self.namespace.usage()
        space = self._space()
        return VolumeSpace(space.capacity, space.free, usage.inodes)

    # Extended attributes.

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        if name in _VIRTUAL:
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
        if name in _VIRTUAL:
            raise NotPermitted(f"{name.decode()} is computed and cannot be set")
        self._forget_capability(ino)
        self._attr_of(SetXattr(ino, name, value, flags))

    def remove_xattr(self, ino: Ino, name: bytes) -> None:
        if name in _VIRTUAL:
            raise NotPermitted(f"{name.decode()} is computed and cannot be removed")
        self._attr_of(RemoveXattr(ino, name))

    def _forget_capability(self, ino: Ino) -> None:
        inode = self.files.open_inodes.get(ino)
        if inode is not None:
            inode.no_capability = False

    def _virtual(self, ino: Ino, name: bytes) -> bytes:
        if name == XATTR_MOUNT:
            return json.dumps(self._describe() | {"ino": ino}).encode()
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
            return False
        inode.orphan = True
        return True

    def writing(self, ino: Ino) -> bool:
        """Somebody has the inode open for writing. Any thread; must not block."""
        inode = self.files.open_inodes.get(ino)
        return inode is not None and inode.writers > 0

    def open_files(self) -> list[Ino]:
        """Any thread."""
        return [inode.attr.ino for inode in self.files.open_inodes]

    def changed(self, changes: Sequence[Change]) -> None:
        """For ``attach``: another session changed these. Any thread; sets flags only."""
        self._tick += 1
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
