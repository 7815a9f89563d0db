"""Long reads from front to back: runs of blocks, fetched and verified ahead, past the cache.

A file that is larger than what the cache could keep of it would only drive everything else out. Its
blocks stay where the target read them to, several megabytes together, until they have been sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

from typing_extensions import Buffer

from gravitonfs.content.budget import Budget
from gravitonfs.content.cache import BlockCache
from gravitonfs.core.extents import Extent, laid_out
from gravitonfs.core.ids import BlockId, PackNumber
from gravitonfs.errors import GravitonError
from gravitonfs.ports.blocks import BlockStore

RUN = (4 << 20) - (64 << 10)
"""Bytes of a run: with the blocks' headers it fits into one read of the target."""
_BLOCKS_MAX = 32
"""Extents may be small parts of large blocks: so many blocks at most are held for one run."""
_AHEAD = 6
"""Runs on their way for one reader: the medium is then busy while others are verified and sent."""


class Fetching(Protocol):
    """What fetches for all readers; see ``reader.Fetcher``."""

    store: BlockStore
    cache: BlockCache
    run_workers: ThreadPoolExecutor
    held: Budget

    def ahead(self, wanted: Sequence[tuple[BlockId, PackNumber, int]]) -> None: ...


class Run(NamedTuple):
    """[start, stop) of a file, and its extents there."""

    start: int
    stop: int
    extents: Sequence[Extent]

    @property
    def scattered(self) -> bool:
        return len(self.extents) == _BLOCKS_MAX and self.stop - self.start < RUN // 4


def plan(extents: Callable[[int, int], Sequence[Extent]], start: int, stop: int) -> Iterator[Run]:
    """[start, stop) as runs that end with a block."""
    while start < stop:
        most = min(stop, start + RUN)
        found = extents(start, most)
        end = most
        if len(found) > _BLOCKS_MAX:
            found = found[:_BLOCKS_MAX]
            end = found[-1].end
        elif len(found) > 1 and found[-1].end > most:
            end = found[-1].offset
            found = found[:-1]
        yield Run(start, end, found)
        start = end


def read_runs(
    fetching: Fetching, runs: Iterator[Run], read: Callable[[int, int], Iterator[Buffer]]
) -> Iterator[Sequence[Buffer]]:
    """The bytes of the runs, in order, in pieces; valid as long as they are kept.

    A few runs are on their way at a time, within the budget that all readers share; a reader that has
    none gets one up to twice the budget. ``read`` is the way through the cache, block by block: for what
    lies scattered, what cannot be read like this, and when even that is used up.
    """
    held = fetching.held
    flying: deque[tuple[Run, Future[list[Buffer]] | None]] = deque()
    try:
        for run in runs:
            while len(flying) >= _AHEAD or (flying and held.used + RUN > held.limit):
                yield from _landed(fetching, *flying.popleft(), read)
            flying.append((run, _started(fetching, run)))
        while flying:
            yield from _landed(fetching, *flying.popleft(), read)
    finally:
        for run, future in flying:  # whoever asked has gone
            if future is not None:
                future.add_done_callback(lambda _, size=run.stop - run.start: held.release(size))  # type: ignore[misc]
                future.cancel()


def _started(fetching: Fetching, run: Run) -> Future[list[Buffer]] | None:
    if run.scattered:
        fetching.ahead([(extent.block, extent.hint, extent.length) for extent in run.extents])
        return None
    if fetching.held.used > 2 * fetching.held.limit:
        return None
    future = fetching.run_workers.submit(_fetched, fetching, run)
    fetching.held.add(run.stop - run.start)
    return future


def _fetched(fetching: Fetching, run: Run) -> list[Buffer]:
    found: dict[BlockId, Buffer] = {}
    wanted: list[tuple[BlockId, PackNumber]] = []
    for extent in run.extents:
        if extent.block not in found:
            data = fetching.cache.get(extent.block)
            found[extent.block] = b"" if data is None else data
            if data is None:
                wanted.append((extent.block, extent.hint))
    for (block, _), data in zip(wanted, fetching.store.get(wanted), strict=True):
        found[block] = data
    return laid_out([(extent, found[extent.block]) for extent in run.extents], run.start, run.stop)


def _landed(
    fetching: Fetching,
    run: Run,
    future: Future[list[Buffer]] | None,
    read: Callable[[int, int], Iterator[Buffer]],
) -> Iterator[Sequence[Buffer]]:
    if future is not None:
        try:
            yield future.result()
            return
        except GravitonError:
            pass  # the other way tells what is wrong, and where
        finally:
            fetching.held.release(run.stop - run.start)
            del future
    for piece in read(run.start, run.stop):
        yield (piece,)
