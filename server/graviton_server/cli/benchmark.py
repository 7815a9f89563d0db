"""The measurements of ``graviton bench``: plain file calls, each timed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from blake3 import blake3

from graviton_server.cli.output import OnEvent
from graviton_server.control.wire import Event

T = TypeVar("T")
_CHUNK = 1 << 20
_PAGE = 4096


class Measure:
    """How long each call of one kind of work took. ``seconds`` is their sum, with what ends the work."""

    def __init__(self, work: str, *, by_bytes: bool = False) -> None:
        self.work = work
        self.by_bytes = by_bytes
        self.bytes = 0
        self._times: list[float] = []
        self._after = 0.0

    @property
    def count(self) -> int:
        return len(self._times)

    @property
    def seconds(self) -> float:
        return max(sum(self._times) + self._after, 1e-9)

    def end(self, what: Callable[[], object]) -> None:
        """What completes the work but is no operation of its own."""
        start = perf_counter()
        what()
        self._after += perf_counter() - start

    def call(self, what: Callable[[], T], size: int = 0) -> T:
        start = perf_counter()
        result = what()
        self._times.append(perf_counter() - start)
        self.bytes += size
        return result

    def percentile(self, percent: int) -> float:
        """By nearest rank."""
        ordered = sorted(self._times)
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Bench:
    """One run in a directory of its own."""

    def __init__(self, directory: Path, *, size: int, files: int, ops: int) -> None:
        self._directory = directory
        self._size = max(size, _CHUNK)
        self._ops = ops
        self._random = random.Random()  # other bytes each time, or a deduplicating system had them already
        self._seed = self._random.randbytes(32)
        self._large = directory / "large"
        self._small = [directory / f"small-{number:06}" for number in range(files)]

    def run(self, on_event: OnEvent) -> list[Measure]:
        steps = (
            self._sequential_write,
            self._sequential_read,
            self._random_read,
            self._random_write,
            self._create,
            self._stat,
            self._read_small,
            self._list,
            self._rename,
            self._fsync,
            self._unlink,
        )
        measures = []
        for number, step in enumerate(steps):
            on_event(Event(number, len(steps)))
            measures.append(step())
        return measures

    def _sequential_write(self) -> Measure:
        measure = Measure("sequential write + fsync", by_bytes=True)
        with _opened(self._large, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as handle:
            for number in range(self._size // _CHUNK):
                # BLAKE3 as a stream of random bytes costs a tenth of what the kernel's does.
                piece = blake3(self._seed + number.to_bytes(8, "little")).digest(length=_CHUNK)
                measure.call(partial(os.write, handle, piece), _CHUNK)
            measure.end(partial(os.fsync, handle))
        return measure

    def _sequential_read(self) -> Measure:
        measure = Measure("sequential read", by_bytes=True)
        _forget(self._large)
        with _opened(self._large, os.O_RDONLY) as handle:
            for number in range(self._size // _CHUNK):
                measure.call(partial(os.pread, handle, _CHUNK, number * _CHUNK), _CHUNK)
        return measure

    def _random_read(self) -> Measure:
        measure = Measure("random read, 4 KiB")
        _forget(self._large)
        with _opened(self._large, os.O_RDONLY) as handle:
            for at in self._places():
                measure.call(partial(os.pread, handle, _PAGE, at), _PAGE)
        return measure

    def _random_write(self) -> Measure:
        measure = Measure("random write, 4 KiB + fsync")

        def write(handle: int, body: bytes, at: int) -> None:
            os.pwrite(handle, body, at)
            os.fsync(handle)

        with _opened(self._large, os.O_WRONLY) as handle:
            for at in self._places():
                measure.call(partial(write, handle, self._random.randbytes(_PAGE), at), _PAGE)
        return measure

    def _places(self) -> list[int]:
        pages = self._size // _PAGE
        return [self._random.randrange(pages) * _PAGE for _ in range(self._ops)]

    def _create(self) -> Measure:
        return self._each("create, 4 KiB", lambda path: path.write_bytes(self._random.randbytes(_PAGE)))

    def _stat(self) -> Measure:
        return self._each("stat", os.stat)

    def _read_small(self) -> Measure:
        for path in self._small:
            _forget(path)
        return self._each("read whole, 4 KiB", Path.read_bytes)

    def _list(self) -> Measure:
        """Names a second: the first call takes the whole directory, as ``ls -l`` does."""
        measure = Measure("list, with attributes")
        with os.scandir(self._directory) as entries:
            while measure.call(partial(_next_with_attributes, entries)):
                pass
        return measure

    def _rename(self) -> Measure:
        return self._each("rename, there and back", _there_and_back)

    def _fsync(self) -> Measure:
        measure = Measure("append 4 KiB + fsync")

        def append(handle: int, body: bytes) -> None:
            os.write(handle, body)
            os.fsync(handle)

        with _opened(self._directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND) as handle:
            for _ in range(min(self._ops, 1000)):
                measure.call(partial(append, handle, self._random.randbytes(_PAGE)), _PAGE)
        return measure

    def _unlink(self) -> Measure:
        return self._each("unlink", os.unlink)

    def _each(self, work: str, call: Callable[[Path], object]) -> Measure:
        measure = Measure(work)
        for path in self._small:
            measure.call(partial(call, path))
        return measure


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    handle = os.open(path, flags, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _next_with_attributes(entries: Iterator[os.DirEntry[str]]) -> os.stat_result | None:
    entry = next(entries, None)
    return entry.stat() if entry is not None else None


def _forget(path: Path) -> None:
    """Ask the kernel to drop the file's pages, so that reading it asks the file system."""
    with _opened(path, os.O_RDONLY) as handle:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def _there_and_back(path: Path) -> None:
    other = path.with_suffix(".renamed")
    os.rename(path, other)
    os.rename(other, path)
