"""A tree of a volume into a local directory.

A file is written beside its place and renamed when it is complete and verified. The name it has until
then tells which bytes it holds, so that a later run goes on where one was interrupted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial

from typing_extensions import Buffer

from graviton_server.cli.listing import names
from graviton_server.cli.localfiles import CHUNK, set_xattrs, write_sparse
from graviton_server.cli.places import join
from graviton_server.cli.transfers import Jobs, Tally
from graviton_server.control import requests
from graviton_server.control.answers import Node
from graviton_server.control.calls import Caller
from gravitonfs.core.hashing import ContentHasher, content_hasher
from gravitonfs.errors import Conflict, Damaged, Exists

_ZEROES = memoryview(bytes(CHUNK))
PART = b".graviton-part"
_TRIES = 3
_NAME_KEPT = 180
"""Bytes of a file's name that its part's name starts with: a name has 255 at most."""


class TreeGet:
    """One run. The main thread walks, the jobs' threads fetch and write."""

    def __init__(self, caller: Caller, jobs: Jobs, tally: Tally, *, again: bool) -> None:
        self._caller = caller
        self._jobs = jobs
        self._tally = tally
        self._again = again
        self._owns = os.geteuid() == 0
        self._told: set[str] = set()
        self._first_names: dict[int, bytes] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._directories: list[tuple[bytes, Node]] = []

    def get(self, path: bytes, local: bytes, *, follow: bool = False) -> None:
        """A file, or a directory with all that is in it, as ``local``."""
        node = self._caller.call(requests.Stat(path=path, details=True, follow=follow))
        if not stat.S_ISDIR(node.mode):
            self._get_one(path, local, node)
            return
        self._directory(local, node)
        waiting = [(path, local)]
        while waiting:
            waiting += self._fill(*waiting.pop())

    def finish(self) -> None:
        """After all jobs: links, then the directories' own looks, which filling them changed."""
        for first, local in self._links:
            self._jobs.attempt(os.fsdecode(local), partial(_link, first, local))
        for local, node in reversed(self._directories):
            self._jobs.attempt(os.fsdecode(local), partial(self._dress, local, node))

    def _fill(self, path: bytes, local: bytes) -> list[tuple[bytes, bytes]]:
        below = []
        for node in names(self._caller, path, details=True):
            self._jobs.check()
            inner, outer = join(path, node.name), os.path.join(local, node.name)
            if not stat.S_ISDIR(node.mode):
                self._jobs.attempt(os.fsdecode(outer), partial(self._get_one, inner, outer, node))
            elif self._jobs.attempt(os.fsdecode(outer), partial(self._directory, outer, node)):
                below.append((inner, outer))
        return below

    def _directory(self, local: bytes, node: Node) -> None:
        try:
            os.mkdir(local, 0o700)
        except FileExistsError:
            # Not through a symlink: that would lead out of the tree.
            if not stat.S_ISDIR(os.lstat(local).st_mode):
                raise Exists("it is there already, and no directory") from None
        self._tally.directories += 1
        self._directories.append((local, node))

    def _get_one(self, path: bytes, local: bytes, node: Node) -> None:
        if node.nlink > 1:
            first = self._first_names.setdefault(node.ino, local)
            if first != local:
                self._links.append((first, local))
                self._tally.link(node.size)
                return
        if not stat.S_ISREG(node.mode):
            self._special(local, node)
        elif self._is_there(local, node):
            self._dress(local, node)
            self._tally.file(skipped=True, size=node.size)
        else:
            self._jobs.start(os.fsdecode(local), lambda: self._fetch(path, local, node))

    def _is_there(self, local: bytes, node: Node) -> bool:
        try:
            info = os.lstat(local)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(info.st_mode):
            raise Exists("it is a directory here, and none in the volume")
        same = (info.st_size, info.st_mtime_ns) == (node.size, node.mtime_ns)
        return same and stat.S_ISREG(info.st_mode) and not self._again

    def _special(self, local: bytes, node: Node) -> None:
        if os.path.lexists(local):
            if os.path.isdir(local) and not os.path.islink(local):
                raise Exists("it is a directory here, and none in the volume")
            os.unlink(local)
        if stat.S_ISLNK(node.mode):
            os.symlink(node.target or b"", local)
        else:
            os.mknod(local, node.mode, node.rdev)
        self._tally.others += 1
        self._dress(local, node)

    def _fetch(self, path: bytes, local: bytes, node: Node) -> None:
        for _ in range(_TRIES):
            try:
                part = self._fetch_part(path, local, node)
                self._dress(part, node)
                os.replace(part, local)
                self._tally.file()
                return
            except Conflict:
                node = self._caller.call(requests.Stat(path=path, details=True, follow=True))
        raise Conflict("it changes while it is read: run the command again")

    def _fetch_part(self, path: bytes, local: bytes, node: Node) -> bytes:
        part = part_name(local, node)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            hasher = content_hasher() if node.digest is not None else None
            at = self._resume(handle, node, hasher)
            request = requests.ReadFile(path=path, offset=at, expect=(node.content, node.version))
            arriving = _Arriving(handle, at, hasher, self._jobs.check, self._tally.moved)
            self._caller.call(request, sink=arriving.write, on_hole=arriving.skip)
            os.ftruncate(handle, node.size)  # a hole at the end is only made by this
            if hasher is not None and hasher.digest() != node.digest:
                os.ftruncate(handle, 0)
                raise Damaged("what arrived is not what was stored: run the command again")
        finally:
            os.close(handle)
        return part

    def _resume(self, handle: int, node: Node, hasher: ContentHasher | None) -> int:
        """How much is there already; only what a digest will vouch for is used."""
        size = os.fstat(handle).st_size
        if hasher is None or size > node.size:
            os.ftruncate(handle, 0)
            return 0
        at = 0
        while at < size:
            self._jobs.check()
            piece = os.pread(handle, CHUNK, at)
            hasher.update(piece)
            at += len(piece)
        self._tally.moved(at)
        return at

    def _dress(self, local: bytes, node: Node) -> None:
        """Owner first, because changing it clears set-id bits; times last."""
        if self._owns:
            os.chown(local, node.uid, node.gid, follow_symlinks=False)
        if not stat.S_ISLNK(node.mode):
            os.chmod(local, stat.S_IMODE(node.mode))
        set_xattrs(local, node.xattrs, self._refused)
        os.utime(local, ns=(node.atime_ns, node.mtime_ns), follow_symlinks=False)

    def _refused(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._tally.remark(sentence)


class _Arriving:
    """A file's bytes on their way to the disk; zeroes and holes take no room there."""

    def __init__(
        self,
        handle: int,
        at: int,
        hasher: ContentHasher | None,
        check: Callable[[], None],
        moved: Callable[[int], None],
    ) -> None:
        self._handle = handle
        self._at = at
        self._hasher = hasher
        self._check = check
        self._moved = moved

    def write(self, data: Buffer) -> None:
        self._check()
        if self._hasher is not None:
            self._hasher.update(data)
        self._at = write_sparse(self._handle, self._at, data)
        self._moved(memoryview(data).nbytes)

    def skip(self, length: int) -> None:
        self._at += length
        for start in range(0, length, len(_ZEROES) if self._hasher is not None else length):
            self._check()
            if self._hasher is not None:
                self._hasher.update(_ZEROES[: length - start])
        self._moved(length)


def part_name(local: bytes, node: Node) -> bytes:
    directory, name = os.path.split(local)
    kept = b"." + name[:_NAME_KEPT] + b".%d-%d" % (node.content, node.version) + PART
    return os.path.join(directory, kept)


def _link(first: bytes, local: bytes) -> None:
    if os.path.lexists(local):
        if os.path.samefile(first, local):
            return
        os.unlink(local)
    os.link(first, local, follow_symlinks=False)
