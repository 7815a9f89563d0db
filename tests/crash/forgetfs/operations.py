"""forgetfs as pyfuse3 operations: every change goes through the disk, which knows what is durable."""

from __future__ import annotations

import errno
import os
import stat
import time

import pyfuse3

from crash.forgetfs.disk import Disk, Inode

CUT = b"user.forgetfs.cut"
"""Set on the root, to a seed in decimal: cuts the power. Everything fails from then on."""
RENAME_NOREPLACE = 1


class ForgetFs(pyfuse3.Operations):
    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk
        self.cut = False
        self._open: dict[int, tuple[int, Inode]] = {}
        self._directories: dict[int, tuple[int, list[tuple[bytes, int]]]] = {}
        self._last = 0

    def _inode(self, ino: int) -> Inode:
        if self.cut:
            raise pyfuse3.FUSEError(errno.EIO)
        return self.disk.inodes[ino]

    def _child(self, parent: int, name: bytes) -> Inode:
        ino = self._inode(parent).children.get(name)
        if ino is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.disk.inodes[ino]

    def _attributes(self, inode: Inode) -> pyfuse3.EntryAttributes:
        attr = pyfuse3.EntryAttributes()
        attr.st_ino = inode.ino
        attr.st_mode = inode.mode
        attr.st_nlink = inode.nlink
        attr.st_uid, attr.st_gid = inode.uid, inode.gid
        attr.st_size = inode.size
        attr.st_blksize = 4096
        attr.st_blocks = -(-inode.size // 512)
        attr.st_atime_ns, attr.st_mtime_ns, attr.st_ctime_ns = inode.times
        attr.attr_timeout = attr.entry_timeout = 60
        return attr

    def _new(self, parent: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> Inode:
        if name in self._inode(parent).children:
            raise pyfuse3.FUSEError(errno.EEXIST)
        inode = self.disk.new_inode(mode, ctx.uid, ctx.gid)
        self.disk.rename_entries((parent, name, inode.ino))
        return inode

    def _handle(self, inode: Inode) -> int:
        self._last += 1
        path = self.disk.live / str(inode.ino)
        self._open[self._last] = (os.open(path, os.O_RDWR), inode)
        return self._last

    async def lookup(self, parent_inode, name, ctx):
        return self._attributes(self._child(parent_inode, name))

    async def getattr(self, inode, ctx):
        return self._attributes(self._inode(inode))

    async def setattr(self, inode, attr, fields, fh, ctx):
        found = self._inode(inode)
        if fields.update_size:
            self.disk.resize(found, attr.st_size)
        if fields.update_mode:
            found.mode = attr.st_mode
        if fields.update_uid:
            found.uid = attr.st_uid
        if fields.update_gid:
            found.gid = attr.st_gid
        if fields.update_mtime:
            found.times[1] = attr.st_mtime_ns
        found.times[2] = time.time_ns()
        return self._attributes(found)

    async def create(self, parent_inode, name, mode, flags, ctx):
        inode = self._new(parent_inode, name, stat.S_IFREG | mode & 0o7777 & ~ctx.umask, ctx)
        return pyfuse3.FileInfo(fh=self._handle(inode)), self._attributes(inode)

    async def mknod(self, parent_inode, name, mode, rdev, ctx):
        return self._attributes(self._new(parent_inode, name, mode & ~ctx.umask, ctx))

    async def mkdir(self, parent_inode, name, mode, ctx):
        return self._attributes(self._new(parent_inode, name, stat.S_IFDIR | mode & ~ctx.umask, ctx))

    async def symlink(self, parent_inode, name, target, ctx):
        inode = self._new(parent_inode, name, stat.S_IFLNK | 0o777, ctx)
        inode.target = target
        inode.size = len(target)
        return self._attributes(inode)

    async def readlink(self, inode, ctx):
        return self._inode(inode).target

    async def link(self, inode, new_parent_inode, new_name, ctx):
        found = self._inode(inode)
        if new_name in self._inode(new_parent_inode).children:
            raise pyfuse3.FUSEError(errno.EEXIST)
        found.nlink += 1
        self.disk.rename_entries((new_parent_inode, new_name, inode))
        return self._attributes(found)

    async def unlink(self, parent_inode, name, ctx):
        self._child(parent_inode, name).nlink -= 1
        self.disk.rename_entries((parent_inode, name, 0))

    async def rmdir(self, parent_inode, name, ctx):
        if self._child(parent_inode, name).children:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        self.disk.rename_entries((parent_inode, name, 0))

    async def rename(self, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx):
        moved = self._child(parent_inode_old, name_old)
        replaced = self._inode(parent_inode_new).children.get(name_new)
        if flags & ~RENAME_NOREPLACE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        if replaced is not None:
            if flags & RENAME_NOREPLACE:
                raise pyfuse3.FUSEError(errno.EEXIST)
            if self.disk.inodes[replaced].children:
                raise pyfuse3.FUSEError(errno.ENOTEMPTY)
            if replaced == moved.ino:
                return
            self.disk.inodes[replaced].nlink -= 1
        self.disk.rename_entries((parent_inode_old, name_old, 0), (parent_inode_new, name_new, moved.ino))

    async def open(self, inode, flags, ctx):
        found = self._inode(inode)
        if flags & os.O_TRUNC and found.size:
            self.disk.resize(found, 0)
        return pyfuse3.FileInfo(fh=self._handle(found), keep_cache=True)

    async def read(self, fh, off, size):
        descriptor, inode = self._open[fh]
        self._inode(inode.ino)
        return os.pread(descriptor, size, off)

    async def write(self, fh, off, buf):
        descriptor, inode = self._open[fh]
        self._inode(inode.ino)
        self.disk.write(inode, descriptor, off, bytes(buf))
        return len(buf)

    async def fsync(self, fh, datasync):
        inode = self._open[fh][1]
        self.disk.sync_file(self._inode(inode.ino))

    async def flush(self, fh): ...

    async def release(self, fh):
        os.close(self._open.pop(fh)[0])

    async def opendir(self, inode, ctx):
        self._last += 1
        self._directories[self._last] = (inode, list(self._inode(inode).children.items()))
        return self._last

    async def readdir(self, fh, start_id, token):
        for index, (name, ino) in enumerate(self._directories[fh][1][start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self._attributes(self._inode(ino)), index):
                return

    async def fsyncdir(self, fh, datasync):
        ino = self._directories[fh][0]
        self._inode(ino)
        self.disk.sync_directory(ino)

    async def releasedir(self, fh):
        del self._directories[fh]

    async def statfs(self, ctx):
        found = os.statvfs(self.disk.backing)
        answer = pyfuse3.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(answer, f"f_{name}", getattr(found, f"f_{name}"))
        return answer

    async def setxattr(self, inode, name, value, ctx):
        self._inode(inode)
        if name != CUT:
            raise pyfuse3.FUSEError(errno.ENOTSUP)
        self.cut = True
        self.disk.cut_power(int(value))

    async def getxattr(self, inode, name, ctx):
        raise pyfuse3.FUSEError(errno.ENOTSUP)

    async def listxattr(self, inode, ctx):
        return []

    async def access(self, inode, mode, ctx):
        return True

    async def forget(self, inode_list): ...
