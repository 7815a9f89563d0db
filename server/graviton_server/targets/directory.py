"""A directory as a target: objects are files, open packs grow in place."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from typing_extensions import Buffer

from graviton_server.targets.append import WindowedFile
from graviton_server.targets.descriptors import DescriptorCache
from graviton_server.targets.identity import STORE_KEY, check_key, check_store, encode_store, is_key
from graviton_server.targets.oserrors import translate
from graviton_server.targets.windows import WindowPool
from gravitonfs.core.durable import sync_directory
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.target import AppendFile, ObjectInfo, Space

_STAGING = "tmp"
_COPY = 1 << 20
_STALE = 86400.0
_DESCRIPTORS = 128
_serial = itertools.count()
_PROCESS = secrets.token_hex(6)
"""Processes in other containers and machines may have the same pid, and share the directory."""


class DirectoryTarget:
    """An ``AppendTarget``. ``_lock`` guards ``_growing``, the files that are still being appended to."""

    def __init__(self, root: Path, name: str, store_uuid: bytes | None) -> None:
        """Open an existing target; without ``store_uuid`` whosever it is. Raises ``NotFound``,
        ``FormatError``."""
        self.name = name
        self._root = Path(root)
        self._lock = threading.Lock()
        self._growing: dict[str, WindowedFile] = {}
        self._pool = WindowPool()
        self._descriptors = DescriptorCache(_DESCRIPTORS, self._pool)
        self._worker = ThreadPoolExecutor(2, thread_name_prefix="pack-write")
        self.store_uuid = self._check_store(store_uuid)
        self._sweep_staging()

    @classmethod
    def make(cls, root: Path, store_uuid: bytes, name: str = "local") -> DirectoryTarget:
        """Make ``root`` a target of this store; one that is already is opened."""
        root = Path(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            sync_directory(root.parent)
            if not (root / STORE_KEY).exists():
                body = encode_store(store_uuid)
                staged = root / f"store.{_PROCESS}.new"
                staged.unlink(missing_ok=True)
                _copy_exactly(BytesIO(body), staged, len(body))
                staged.rename(root / STORE_KEY)
                sync_directory(root)
        except OSError as error:
            raise translate(error, f"creating the target {root}") from error
        return cls(root, name, store_uuid)

    def _check_store(self, store_uuid: bytes | None) -> bytes:
        try:
            found = (self._root / STORE_KEY).read_bytes()
        except OSError as error:
            raise translate(error, f"{self._root} is no target of a store") from error
        return check_store(found, store_uuid, str(self._root))

    # --- whole objects ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        path = self._path(key)
        staged = self._root / _STAGING / f"{_PROCESS}-{os.getpid()}-{next(_serial)}"
        try:
            self._make_directories(staged)
            self._make_directories(path)
            try:
                _copy_exactly(body, staged, length)
                os.rename(staged, path)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
            self._fsync_names(path)
        except OSError as error:
            raise translate(error, f"writing {path}") from error
        self._descriptors.drop(str(path))

    def get(self, key: str, start: int, length: int) -> Buffer:
        return self.get_ranges(key, [(start, length)])[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        growing = self._growing.get(key)
        if growing is not None:
            return [growing.read(start, length) for start, length in ranges]
        path = self._path(key)
        try:
            return self._descriptors.read(str(path), ranges)
        except OSError as error:
            raise translate(error, f"reading {path}") from error

    def read_cached(self, key: str, start: int, length: int) -> Buffer | None:
        growing = self._growing.get(key)
        if growing is not None:
            return growing.read_cached(start, length)
        path = self._path(key)
        try:
            return self._descriptors.get(str(path)).read_cached(start, length)
        except OSError as error:
            raise translate(error, f"reading {path}") from error

    def head(self, key: str) -> ObjectInfo:
        growing = self._growing.get(key)
        if growing is not None:
            return ObjectInfo(key, growing.length)
        path = self._path(key)
        try:
            return ObjectInfo(key, path.stat().st_size)
        except OSError as error:
            raise translate(error, f"{path}") from error

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            sync_directory(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise translate(error, f"deleting {path}") from error
        self._descriptors.drop(str(path))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        top = self._root / prefix.rpartition("/")[0]
        for folder, folders, files in os.walk(top):
            relative = Path(folder).relative_to(self._root).as_posix()
            base = "" if relative == "." else relative + "/"
            if base == "":
                folders[:] = [name for name in folders if name != _STAGING]
            for name in files:
                key = base + name
                if key.startswith(prefix) and is_key(key):
                    try:
                        yield self.head(key)
                    except NotFound:
                        continue

    def space(self) -> Space:
        try:
            stat = os.statvfs(self._root)
        except OSError as error:
            raise translate(error, f"{self._root}") from error
        return Space(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)

    # --- growing objects ---

    def create(self, key: str) -> AppendFile:
        path = self._path(key)
        try:
            self._make_directories(path)
            file = WindowedFile(
                str(path),
                self._pool,
                self._worker,
                on_first_sync=lambda: self._fsync_names(path),
                on_close=lambda: self._forget(key),
            )
        except OSError as error:
            raise translate(error, f"creating {path}") from error
        with self._lock:
            self._growing[key] = file
        return file

    def _forget(self, key: str) -> None:
        with self._lock:
            self._growing.pop(key, None)

    def close(self) -> None:
        """Let go of threads and descriptors; growing files are closed, unsynced."""
        with self._lock:
            left = list(self._growing.values())
        for file in left:
            file.close()
        self._worker.shutdown(wait=True)
        self._descriptors.clear()

    def _path(self, key: str) -> Path:
        check_key(key)
        if key.startswith(_STAGING + "/"):
            raise Invalid(f"{key!r} is no key of a target")
        return self._root / key

    @staticmethod
    def _make_directories(path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _fsync_names(self, path: Path) -> None:
        """Make the name of ``path`` durable: its directory, and those above it up to the root."""
        folder = path.parent
        sync_directory(folder)
        while folder != self._root:
            folder = folder.parent
            sync_directory(folder)

    def _sweep_staging(self) -> None:
        """Remove what uploads of processes long dead have left."""
        horizon = time.time() - _STALE
        with contextlib.suppress(OSError):
            for left in (self._root / _STAGING).iterdir():
                if left.stat().st_mtime < horizon:
                    left.unlink()


def _copy_exactly(body: BinaryIO, path: Path, length: int) -> None:
    with path.open("xb", buffering=0) as out:
        left = length
        while left:
            piece = body.read(min(left, _COPY))
            if not piece:
                raise Invalid(f"an object of {length} bytes ended {left} bytes early")
            view = memoryview(piece)
            left -= len(view)
            while view:
                view = view[out.write(view) :]
        if body.read(1):
            raise Invalid(f"an object has more than the {length} bytes declared")
        os.fsync(out.fileno())
