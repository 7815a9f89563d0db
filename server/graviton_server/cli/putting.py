"""A local tree into a volume.

What is there already with the same size and time of change is left alone, so that an interrupted run
is continued by running it again; blocks of half-transferred files are found by deduplication.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial

from graviton_server.cli.listing import names
from graviton_server.cli.localfiles import read_runs, size_of, xattrs_of
from graviton_server.cli.places import join
from graviton_server.cli.sources import TRIES, Item, looks, node_of, read_whole, unchanged
from graviton_server.cli.transfers import Jobs, Tally
from graviton_server.control import requests
from graviton_server.control.answers import NewNode, Node, SmallFile
from graviton_server.control.calls import Caller
from graviton_server.control.wire import Hole
from gravitonfs.core.hashing import ContentHasher, content_hasher
from gravitonfs.errors import Damaged, GravitonError, NotFound

SMALL = 64 << 10
_SMALL_BATCH_FILES = 128
_BATCH_BYTES = 4 << 20
_NODES = 500


class TreePut:
    """One run. The main thread walks, the jobs' threads read and send."""

    def __init__(self, caller: Caller, jobs: Jobs, tally: Tally, *, again: bool) -> None:
        """``again``: send every file, whatever is there."""
        self._caller = caller
        self._jobs = jobs
        self._tally = tally
        self._again = again
        self._nodes: list[NewNode] = []
        self._nodes_bytes = 0
        self._times: list[tuple[bytes, int, int]] = []
        self._small: list[tuple[Item, SmallFile]] = []
        self._small_bytes = 0
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._links: list[NewNode] = []

    def put(self, local: bytes, path: bytes) -> None:
        """A file, or a directory with all that is in it, as ``path``."""
        info = os.lstat(local)
        if not stat.S_ISDIR(info.st_mode):
            self._put_one(Item(local, path, info), self._stat(path))
            return
        self._directory(Item(local, path, info))
        self._flush_nodes()
        waiting = [(local, path)]
        while waiting:
            waiting += self._fill(*waiting.pop())

    def finish(self) -> None:
        """After all jobs: links, then the directories' times, then everything durable."""
        for link in self._links:
            self._add(link)
        self._flush_nodes()
        for start in range(0, len(self._times), _NODES):
            self._caller.call(requests.SetTimes(times=self._times[start : start + _NODES]))
        self._caller.call(requests.Flush())

    def send_rest(self) -> None:
        """What was gathered and not sent yet."""
        self._flush_nodes()
        self._flush_small()

    def _fill(self, local: bytes, path: bytes) -> list[tuple[bytes, bytes]]:
        """Put what is in a directory; returns the directories in it."""
        try:
            entries = sorted(os.scandir(local), key=lambda entry: entry.name)
        except OSError as error:
            self._tally.problem(f"{os.fsdecode(local)}: {error.strerror}")
            return []
        there: dict[bytes, Node] = {}
        if not self._jobs.attempt(os.fsdecode(local), lambda: there.update(self._existing(path))):
            return []
        below = []
        for entry in entries:
            self._jobs.check()
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._tally.problem(f"{os.fsdecode(entry.path)}: {error.strerror}")
                continue
            item = Item(entry.path, join(path, entry.name), info)
            if not stat.S_ISDIR(info.st_mode):
                self._jobs.attempt(
                    os.fsdecode(item.local), partial(self._put_one, item, there.get(entry.name))
                )
            elif self._jobs.attempt(os.fsdecode(item.local), partial(self._directory, item)):
                below.append((item.local, item.path))
        self._flush_nodes()
        return below

    def _existing(self, path: bytes) -> dict[bytes, Node]:
        return {node.name: node for node in names(self._caller, path)}

    def _put_one(self, item: Item, old: Node | None) -> None:
        info = item.info
        if not stat.S_ISREG(info.st_mode):
            self._special(item)
            return
        if info.st_nlink > 1:
            first = self._first_names.setdefault((info.st_dev, info.st_ino), item.path)
            if first != item.path:
                self._links.append(node_of(item, [], link_to=first))
                self._tally.link(info.st_size)
                return
        if old is not None and self._is_same(old, info):
            self._add(node_of(item, xattrs_of(item.local)))
            self._tally.file(skipped=True, size=info.st_size)
        elif info.st_size <= SMALL:
            self._put_small(item)
        else:
            self._jobs.start(os.fsdecode(item.local), lambda: self._put_large(item))

    def _is_same(self, old: Node, info: os.stat_result) -> bool:
        same = (old.size, old.mtime_ns) == (info.st_size, info.st_mtime_ns)
        return same and stat.S_ISREG(old.mode) and not self._again

    def _directory(self, item: Item) -> None:
        self._tally.directories += 1
        self._add(node_of(item, xattrs_of(item.local)))
        self._times.append((item.path, item.info.st_atime_ns, item.info.st_mtime_ns))

    def _special(self, item: Item) -> None:
        if stat.S_ISSOCK(item.info.st_mode):
            return  # belongs to a running process; tar leaves it out as well
        target = os.readlink(item.local) if stat.S_ISLNK(item.info.st_mode) else b""
        self._tally.others += 1
        self._add(node_of(item, xattrs_of(item.local), target=target))

    def _add(self, node: NewNode) -> None:
        self._nodes.append(node)
        self._nodes_bytes += len(node.path) + size_of(node.xattrs)
        if len(self._nodes) >= _NODES or self._nodes_bytes >= _BATCH_BYTES:
            self._flush_nodes()

    def _flush_nodes(self) -> None:
        nodes, self._nodes, self._nodes_bytes = self._nodes, [], 0
        if not nodes:
            return
        try:
            self._make(nodes)
        except GravitonError:
            for node in nodes:  # find the one that is refused, and make the others
                self._jobs.attempt(os.fsdecode(node.path), partial(self._make, [node]))

    def _make(self, nodes: list[NewNode]) -> None:
        self._caller.call(requests.MakeNodes(nodes=nodes))

    def _put_small(self, item: Item) -> None:
        def read() -> None:
            body, info = read_whole(item, self._jobs.check)
            file = SmallFile(path=item.path, body=body, xattrs=xattrs_of(item.local), **looks(info))
            self._small.append((item, file))
            self._small_bytes += len(body) + size_of(file.xattrs)

        self._jobs.attempt(os.fsdecode(item.local), read)
        if len(self._small) >= _SMALL_BATCH_FILES or self._small_bytes >= _BATCH_BYTES:
            self._flush_small()

    def _flush_small(self) -> None:
        batch, self._small, self._small_bytes = self._small, [], 0
        if batch:
            self._jobs.start("small files", lambda: self._send_small(batch))

    def _send_small(self, batch: list[tuple[Item, SmallFile]]) -> None:
        """Together; where one is refused, one by one, to tell which."""
        try:
            self._caller.call(requests.WriteSmall(files=[file for _, file in batch]))
        except GravitonError:
            if len(batch) == 1:
                raise
            for entry in batch:
                self._jobs.attempt(os.fsdecode(entry[0].local), partial(self._send_small, [entry]))
            return
        self._tally.file(len(batch))
        self._tally.moved(sum(len(file.body) for _, file in batch))

    def _put_large(self, item: Item) -> None:
        for _ in range(TRIES):
            handle = os.open(item.local, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                before = os.fstat(handle)
                digest = _Digest()
                node = self._caller.call(
                    requests.WriteFile(path=item.path, xattrs=xattrs_of(item.local), **looks(before)),
                    source=self._pieces(handle, digest),
                )
                after = os.fstat(handle)
            finally:
                os.close(handle)
            if unchanged(before, after, node.size):
                if digest.differs(node.digest):
                    raise Damaged("what was stored is not what was read: run the command again")
                self._tally.file()
                return
        raise OSError(0, "it changes while it is read: it was stored as it was at some moment")

    def _pieces(self, handle: int, digest: _Digest) -> Iterator[bytes | Hole]:
        for piece in read_runs(handle, self._jobs.check):
            digest.add(piece)
            yield piece
            self._tally.moved(piece.length if isinstance(piece, Hole) else len(piece))

    def _stat(self, path: bytes) -> Node | None:
        try:
            return self._caller.call(requests.Stat(path=path))
        except NotFound:
            return None


class _Digest:
    """Of what is sent. The volume tells none at once of a file with holes, so there it is not made."""

    def __init__(self) -> None:
        self._hasher: ContentHasher | None = content_hasher()

    def add(self, piece: bytes | Hole) -> None:
        if isinstance(piece, Hole):
            self._hasher = None
        elif self._hasher is not None:
            self._hasher.update(piece)

    def differs(self, stored: bytes | None) -> bool:
        return stored is not None and self._hasher is not None and stored != self._hasher.digest()
