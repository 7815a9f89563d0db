"""A target where a pack goes up whole: until then it grows in memory or a local file, and is read from there.

Nothing that is staged is relied on before the object is on the target, so nothing is flushed: what is
left of it after a crash is a convenience, not a promise.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from typing_extensions import Buffer

from graviton_server.targets.identity import check_key
from graviton_server.targets.oserrors import translate
from graviton_server.targets.staged_file import StagedFile, StagingMemory
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.target import AppendFile, ObjectInfo, Space, Target, copies_of, report_bad

T = TypeVar("T")
MEMORY: Final = 64 << 20
"""Of packs that are held in memory until they are stored, by default."""


class StagedTarget:
    """An ``AppendTarget`` over a ``Target`` and a local directory. ``_lock`` guards ``_files``, those that
    are not on the target yet: growing ones, and ones that a dead process has left.

    ``sync`` of a file promises nothing: ``upload`` it.
    """

    def __init__(self, remote: Target, folder: Path, memory: int = MEMORY) -> None:
        """``memory``: bytes of staged objects that may be held in it."""
        self._memory = StagingMemory(memory)
        self.name = remote.name
        self._remote = remote
        self.look: Callable[[], bool] = lambda: False
        """Whether there are other targets than before, which ``lead_to`` was called with: asked before an
        object is stored or deleted, and when one is missing. Replaced where other engines may add some."""
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files: dict[str, StagedFile] = {}
        for path in folder.glob("*.pack"):
            file = StagedFile(path)
            self._files[self._key_of(path)] = file

    @staticmethod
    def _key_of(path: Path) -> str:
        return f"packs/{path.stem[-2:]}/{path.name}"

    @property
    def remote(self) -> Target:
        return self._remote

    def lead_to(self, remote: Target) -> None:
        """Objects are there from now on, in place of where they were so far, which it knows, too."""
        self.name, self._remote = remote.name, remote

    def _found(self, read: Callable[[Target], T]) -> T:
        try:
            return read(self._remote)
        except NotFound:
            if not self.look():
                raise
        return read(self._remote)

    # --- staged objects ---

    def create(self, key: str) -> AppendFile:
        check_key(key)
        path = self._folder / key.rsplit("/", 1)[-1]
        if self._key_of(path) != key:
            raise Invalid(f"{key!r} is not the key of a pack")
        file = StagedFile(path, self._memory)
        file.on_close = lambda: self._forget(key)
        with self._lock:
            self._files[key] = file
        return file

    def _forget(self, key: str) -> None:
        with self._lock:
            self._files.pop(key, None)

    def upload(self, key: str) -> None:
        """Store the object on the target; it is read locally until its file is closed."""
        file = self._files.get(key)
        if file is None:
            raise NotFound(f"{key} is not staged here")
        self.look()
        with file.body() as body:
            self._remote.put(key, body, file.length)
        file.kept = False

    def keep(self, key: str) -> None:
        """Leave a file when it is closed, for the next start."""
        file = self._files.get(key)
        if file is not None:
            file.kept = True

    def left(self) -> list[str]:
        """Keys of files that an earlier process has left."""
        with self._lock:
            return [key for key, file in self._files.items() if file.kept]

    def discard(self, key: str) -> None:
        """Remove a file that was left."""
        with self._lock:
            file = self._files.pop(key, None)
        if file is not None:
            file.path.unlink(missing_ok=True)

    def staging_space(self) -> Space:
        try:
            stat = os.statvfs(self._folder)
        except OSError as error:
            raise translate(error, f"{self._folder}") from error
        return Space(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)

    # --- objects ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        self.look()
        self._remote.put(key, body, length)

    def get(self, key: str, start: int, length: int) -> Buffer:
        file = self._files.get(key)
        if file is None:
            return self._found(lambda remote: remote.get(key, start, length))
        return file.read(start, length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        file = self._files.get(key)
        if file is None:
            return self._found(lambda remote: remote.get_ranges(key, ranges))
        return [file.read(start, length) for start, length in ranges]

    def read_cached(self, key: str, start: int, length: int) -> Buffer | None:
        """What is not staged is behind a network."""
        file = self._files.get(key)
        return None if file is None else file.read(start, length)

    def head(self, key: str) -> ObjectInfo:
        file = self._files.get(key)
        if file is None:
            return self._found(lambda remote: remote.head(key))
        return ObjectInfo(key, file.length)

    def delete(self, key: str) -> None:
        self.discard(key)
        self.look()
        self._remote.delete(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._remote.list(prefix)

    def space(self) -> Space:
        return self._remote.space()

    def copies(self, key: str) -> Sequence[Target]:
        return () if key in self._files else copies_of(self._remote, key)

    def report_bad(self, key: str, copy: Target) -> None:
        report_bad(self._remote, key, copy)

    def close(self) -> None:
        """Lets go of the local files, and leaves them. The target behind stays open."""
        with self._lock:
            self._files.clear()
