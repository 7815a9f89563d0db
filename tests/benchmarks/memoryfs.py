"""A pyfuse3 file system that does nothing but keep everything in memory: the ceiling of the comparison.

Run as a program: ``python -m tests.benchmarks.memoryfs DIR``; ends when unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

import pyfuse3
import trio


class Node:
    __slots__ = ("attr", "children", "data", "target")

    def __init__(self, ino: int, mode: int) -> None:
        self.attr = attr = pyfuse3.EntryAttributes()
        attr.st_ino = ino
        attr.st_mode = mode
        attr.st_nlink = 1
        attr.st_uid = attr.st_gid = 0
        attr.st_blksize = 4096
        attr.attr_timeout = attr.entry_timeout = 60
        attr.st_atime_ns = attr.st_mtime_ns = attr.st_ctime_ns = time.time_ns()
        self.data = bytearray()
        self.target = b""
        self.children: dict[bytes, int] = {}


class MemoryFs(pyfuse3.Operations):
    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[int, Node] = {1: Node(1, stat.S_IFDIR | 0o755)}
        self.last = 1

    def _child(self, parent: int, name: bytes) -> Node:
        ino = self.nodes[parent].children.get(name)
        if ino is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self.nodes[ino]

    def _new(self, parent: int, name: bytes, mode: int) -> Node:
        if name in self.nodes[parent].children:
            raise pyfuse3.FUSEError(errno.EEXIST)
        self.last += 1
        node = self.nodes[self.last] = Node(self.last, mode)
        self.nodes[parent].children[name] = self.last
        return node

    async def lookup(self, parent_inode, name, ctx):
        return self._child(parent_inode, name).attr

    async def getattr(self, inode, ctx):
        return self.nodes[inode].attr

    async def setattr(self, inode, attr, fields, fh, ctx):
        node = self.nodes[inode]
        if fields.update_size:
            del node.data[attr.st_size :]
            node.data.extend(bytes(attr.st_size - len(node.data)))
            node.attr.st_size = attr.st_size
        if fields.update_mode:
            node.attr.st_mode = attr.st_mode
        if fields.update_mtime:
            node.attr.st_mtime_ns = attr.st_mtime_ns
        return node.attr

    async def open(self, inode, flags, ctx):
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    async def create(self, parent_inode, name, mode, flags, ctx):
        node = self._new(parent_inode, name, stat.S_IFREG | mode & ~ctx.umask)
        return pyfuse3.FileInfo(fh=node.attr.st_ino, keep_cache=True), node.attr

    async def mkdir(self, parent_inode, name, mode, ctx):
        return self._new(parent_inode, name, stat.S_IFDIR | mode & ~ctx.umask).attr

    async def symlink(self, parent_inode, name, target, ctx):
        node = self._new(parent_inode, name, stat.S_IFLNK | 0o777)
        node.target = target
        return node.attr

    async def readlink(self, inode, ctx):
        return self.nodes[inode].target

    async def link(self, inode, new_parent_inode, new_name, ctx):
        self.nodes[new_parent_inode].children[new_name] = inode
        self.nodes[inode].attr.st_nlink += 1
        return self.nodes[inode].attr

    async def read(self, fh, off, size):
        # Through a memoryview: one copy, as a real file system's cache would do.
        return bytes(memoryview(self.nodes[fh].data)[off : off + size])

    async def write(self, fh, off, buf):
        node = self.nodes[fh]
        if off > len(node.data):
            node.data.extend(bytes(off - len(node.data)))
        node.data[off : off + len(buf)] = buf
        node.attr.st_size = len(node.data)
        node.attr.st_mtime_ns = time.time_ns()
        return len(buf)

    async def unlink(self, parent_inode, name, ctx):
        node = self._child(parent_inode, name)
        del self.nodes[parent_inode].children[name]
        node.attr.st_nlink -= 1

    rmdir = unlink

    async def forget(self, inode_list):
        for ino, _ in inode_list:
            node = self.nodes.get(ino)
            if node is not None and node.attr.st_nlink == 0:
                del self.nodes[ino]

    async def rename(self, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx):
        ino = self._child(parent_inode_old, name_old).attr.st_ino
        replaced = self.nodes[parent_inode_new].children.get(name_new)
        if replaced is not None:
            self.nodes[replaced].attr.st_nlink -= 1
        del self.nodes[parent_inode_old].children[name_old]
        self.nodes[parent_inode_new].children[name_new] = ino

    async def opendir(self, inode, ctx):
        return inode

    async def readdir(self, fh, start_id, token):
        for index, (name, ino) in enumerate(list(self.nodes[fh].children.items())[start_id:], start_id + 1):
            if not pyfuse3.readdir_reply(token, name, self.nodes[ino].attr, index):
                return

    async def statfs(self, ctx):
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = 4096
        answer.f_blocks = answer.f_bfree = answer.f_bavail = answer.f_files = answer.f_ffree = 1 << 30
        answer.f_namemax = 255
        return answer

    async def access(self, inode, mode, ctx):
        return True

    async def flush(self, fh): ...
    async def fsync(self, fh, datasync): ...
    async def fsyncdir(self, fh, datasync): ...
    async def release(self, fh): ...
    async def releasedir(self, fh): ...


def main() -> None:
    options = set(pyfuse3.default_options) | {"fsname=memory", "allow_other"}
    pyfuse3.init(MemoryFs(), os.fspath(sys.argv[1]), options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
