"""Request handlers. Each one only translates: what happens is the VFS's business."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import cast

import pyfuse3
from pyfuse3 import FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ModeT, RequestContext, XAttrNameT

from gravitonfs.content.fresh import Ticket
from gravitonfs.core.ids import NAME_MAX, Ino
from gravitonfs.core.trash import is_trash
from gravitonfs.errors import NotFound
from gravitonfs.fuse.attributes import Ownership, entry_attributes, no_entry, reply_entries
from gravitonfs.fuse.counted import TRANSFERS, counted
from gravitonfs.fuse.handed import Times
from gravitonfs.ports.ops import Attr, RenameMode, SetAttr
from gravitonfs.vfs.directories import DirectoryHandle
from gravitonfs.vfs.files import FileHandle
from gravitonfs.vfs.vfs import VIRTUAL, Vfs

_FRAGMENT = 4096


class Operations(pyfuse3.Operations):
    """One mount. All handlers run on the event loop."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = True

    def __init__(self, vfs: Vfs, times: Times, *, root: Ino, shown: Ownership | None = None) -> None:
        super().__init__()
        self._vfs = vfs
        self._call = vfs.files.call
        self._ask = vfs.files.ask
        self._change = vfs.files.change
        self._times = times
        self._root = root
        self._shown = shown
        self._handles: dict[int, FileHandle | DirectoryHandle] = {}
        self._next_handle = 1

    def _ino(self, inode: InodeT) -> Ino:
        """The kernel calls the root of the mount 1, whichever directory that is."""
        return self._root if inode == pyfuse3.ROOT_INODE else Ino(inode)

    def _entry(self, attr: Attr, mark: Ticket | None, *, own: bool = False) -> pyfuse3.EntryAttributes:
        """An answer is made when all that is waited for has come: from here on it may be kept for a time."""
        if is_trash(attr.ino):
            return entry_attributes(attr, 0.0, self._shown)
        return entry_attributes(attr, self._times.of_inode(attr.ino, mark, own=own), self._shown)

    def _named(
        self, parent: InodeT, name: bytes, attr: Attr, mark: Ticket | None, *, own: bool = True
    ) -> pyfuse3.EntryAttributes:
        """``own``: it is what a change has made; see ``Times``."""
        if is_trash(attr.ino):
            return entry_attributes(attr, 0.0, self._shown)  # it is there until something else is removed
        return entry_attributes(attr, self._times.of_name(parent, name, attr.ino, mark, own=own), self._shown)

    def _handle(self, handle: FileHandle | DirectoryHandle) -> FileHandleT:
        number = self._next_handle
        self._next_handle += 1
        self._handles[number] = handle
        return FileHandleT(number)

    def _file(self, fh: FileHandleT) -> FileHandle:
        return cast(FileHandle, self._handles[fh])

    # Names.

    @counted
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        mark = self._times.mark()
        attr = await self._ask(self._vfs.lookup, self._ino(parent_inode), name)
        if attr is None:
            trash = is_trash(parent_inode)
            return no_entry(0.0 if trash else self._times.of_name(parent_inode, name, 0, mark))
        return self._named(parent_inode, name, attr, mark, own=False)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Nothing is kept for inodes that are merely known to the kernel."""

    @counted
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        mark = self._times.mark()
        attr = await self._change(
            self._vfs.make, self._ino(parent_inode), name, mode, ctx.uid, ctx.gid, rdev=rdev
        )
        return self._named(parent_inode, name, attr, mark)

    @counted
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        mode = ModeT(stat.S_IFDIR | stat.S_IMODE(mode))
        mark = self._times.mark()
        attr = await self._change(self._vfs.make, self._ino(parent_inode), name, mode, ctx.uid, ctx.gid)
        return self._named(parent_inode, name, attr, mark)

    @counted
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        mode = stat.S_IFLNK | 0o777
        mark = self._times.mark()
        attr = await self._change(
            self._vfs.make, self._ino(parent_inode), name, mode, ctx.uid, ctx.gid, target=target
        )
        return self._named(parent_inode, name, attr, mark)

    @counted
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        mark = self._times.mark()
        attr = await self._change(self._vfs.link, self._ino(inode), self._ino(new_parent_inode), new_name)
        return self._named(new_parent_inode, new_name, attr, mark)

    @counted
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._change(self._vfs.unlink, self._ino(parent_inode), name)

    @counted
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._change(self._vfs.rmdir, self._ino(parent_inode), name)

    @counted
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        mode = RenameMode.REPLACE
        if flags & pyfuse3.RENAME_EXCHANGE:
            mode = RenameMode.EXCHANGE
        elif flags & pyfuse3.RENAME_NOREPLACE:
            mode = RenameMode.NOREPLACE
        await self._change(
            self._vfs.rename,
            self._ino(parent_inode_old),
            name_old,
            self._ino(parent_inode_new),
            name_new,
            mode,
        )

    @counted
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(await self._ask(self._vfs.readlink, self._ino(inode)))

    # Attributes.

    @counted
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        mark = self._times.mark()
        return self._entry(await self._ask(self._vfs.attr, self._ino(inode)), mark)

    @counted
    async def setattr(
        self,
        inode: InodeT,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> pyfuse3.EntryAttributes:
        change = SetAttr(
            self._ino(inode),
            stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            attr.st_uid if fields.update_uid else None,
            attr.st_gid if fields.update_gid else None,
            attr.st_atime_ns if fields.update_atime else None,
            attr.st_mtime_ns if fields.update_mtime else None,
            attr.st_ctime_ns if fields.update_ctime else None,
        )
        mark = self._times.mark()
        changed = await self._vfs.set_attr(change, attr.st_size if fields.update_size else None)
        return self._entry(changed, mark, own=True)

    @counted
    async def access(self, inode: InodeT, mode: ModeT, ctx: RequestContext) -> bool:
        return True  # default_permissions: the kernel checks

    @counted
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        space = await self._call(self._vfs.space, self._root)
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = _FRAGMENT
        data.f_blocks = space.total // _FRAGMENT
        data.f_bfree = data.f_bavail = space.free // _FRAGMENT
        data.f_ffree = data.f_favail = space.free_inodes
        data.f_files = space.inodes + data.f_ffree
        data.f_namemax = NAME_MAX
        return data

    @counted
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        if name.startswith(b"system."):
            await self._vfs.files.settle(self._ino(inode))
        how = self._call if name in VIRTUAL else self._ask
        return await how(self._vfs.xattr, self._ino(inode), name)

    @counted
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return [XAttrNameT(name) for name in await self._ask(self._vfs.xattrs, self._ino(inode))]

    @counted
    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        await self._vfs.files.settle(self._ino(inode))
        await self._change(self._vfs.set_xattr, self._ino(inode), name, value)

    @counted
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        await self._vfs.files.settle(self._ino(inode))
        await self._change(self._vfs.remove_xattr, self._ino(inode), name)

    # Directories.

    @counted
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        return self._handle(self._vfs.open_directory(self._ino(inode)))

    @counted
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        handle = cast(DirectoryHandle, self._handles[fh])
        mark = self._times.mark()
        dots = await self._dots(handle, start_id) if start_id < 2 else []
        page = await self._vfs.fetch_directory(handle, max(start_id - 2, 0))
        parent = pyfuse3.ROOT_INODE if handle.ino == self._root else InodeT(handle.ino)
        for position, name, dot in dots:
            if not pyfuse3.readdir_reply(token, FileNameT(name), self._entry(dot, mark), position):
                return
        seconds = 0.0 if is_trash(handle.ino) else self._times.of_page(mark)
        taken = reply_entries(token, page.entries, page.position + 3, seconds, self._shown)
        if seconds:
            self._times.handed(parent, page.entries[:taken])

    async def _dots(self, handle: DirectoryHandle, start_id: int) -> list[tuple[int, bytes, Attr]]:
        """The entries of the directory itself and the one above it."""
        found: list[tuple[int, bytes, Attr]] = []
        for position, name in ((1, b"."), (2, b"..")):
            if position > start_id:
                ino = handle.ino
                if position == 2 and ino != self._root:
                    ino = await self._ask(self._vfs.parent_of, ino)
                try:
                    found.append((position, name, await self._ask(self._vfs.attr, ino)))
                except NotFound:
                    pass  # it is removed, and listed by who has it open still
        return found

    @counted
    async def releasedir(self, fh: FileHandleT) -> None:
        del self._handles[fh]

    @counted
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        await self._vfs.files.sync_names()

    # Files.

    @counted
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, pyfuse3.EntryAttributes]:
        mark = self._times.mark()
        handle, attr = await self._vfs.create(self._ino(parent_inode), name, mode, ctx.uid, ctx.gid, flags)
        return FileInfo(fh=self._handle(handle), keep_cache=True), self._named(parent_inode, name, attr, mark)

    @counted
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        handle, keep = await self._vfs.open(self._ino(inode), flags)
        return FileInfo(fh=self._handle(handle), keep_cache=keep)

    @counted
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        # pyfuse3 takes any buffer, and a view saves a copy of every read.
        return cast(bytes, await self._vfs.files.read(self._file(fh), off, size))

    @counted
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        return await self._vfs.write(self._file(fh), off, buf)

    @counted
    async def flush(self, fh: FileHandleT) -> None:
        await self._vfs.files.close(self._file(fh).inode)

    @counted
    async def release(self, fh: FileHandleT) -> None:
        handle = cast(FileHandle, self._handles.pop(fh))
        if handle.writes or handle.next:
            TRANSFERS["uploads" if handle.writes else "downloads"] += 1
        await self._vfs.files.release(handle)

    @counted
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._vfs.fsync(self._file(fh))
