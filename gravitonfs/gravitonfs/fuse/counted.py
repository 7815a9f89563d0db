"""Around every request: errno instead of an exception, and how often and how long."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from time import perf_counter_ns
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from gravitonfs.errors import GravitonError, Kind
from gravitonfs.fuse.turns import turning

log = logging.getLogger("graviton.fuse")

P = ParamSpec("P")
R = TypeVar("R")


class Counter:
    """Of one kind of request. ``nanoseconds`` include what the request waited for; ``buckets`` counts
    those that took under 2 to the power of its index of them, and not under half of that."""

    __slots__ = ("buckets", "count", "errors", "nanoseconds", "slowest")

    def __init__(self) -> None:
        self.buckets = [0] * 64
        self.count = 0
        self.errors = 0
        self.nanoseconds = 0
        self.slowest = 0


COUNTERS: dict[str, Counter] = {}
"""By request. Only the event loop writes; readers in other threads see whole integers."""

ERRORS: dict[str, int] = {}
"""Requests that failed by no fault of the caller's, by kind."""
TRANSFERS = {"uploads": 0, "downloads": 0}
"""Files that were closed after writing, and after reading only."""

_LOUD = {
    Kind.DAMAGED,
    Kind.UNAVAILABLE,
    Kind.INTERNAL,
    Kind.FENCED,
    Kind.FORMAT,
    Kind.GAP,
    Kind.MISSING_BLOCKS,
}
_FAULTS = _LOUD | {Kind.NO_SPACE}
"""What counts as an error of ours; a name that is not there is the caller's own."""


def counted(
    handler: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Wrap a request handler. pyfuse3 lets nothing but FUSEError through: anything else ends the mount."""
    name = handler.__name__
    counter = COUNTERS.setdefault(name, Counter())

    @turning
    @wraps(handler)
    async def request(*args: P.args, **kwargs: P.kwargs) -> R:
        start = perf_counter_ns()
        try:
            return await handler(*args, **kwargs)
        except GravitonError as error:
            if error.kind in _FAULTS:
                counter.errors += 1
                ERRORS[error.kind.value] = ERRORS.get(error.kind.value, 0) + 1
            if error.kind in _LOUD:
                log.error("%s: %s", name, error)
            raise pyfuse3.FUSEError(error.errno) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            counter.errors += 1
            ERRORS[Kind.INTERNAL.value] = ERRORS.get(Kind.INTERNAL.value, 0) + 1
            log.exception("%s failed", name)
            raise pyfuse3.FUSEError(errno.EIO) from None
        finally:
            took = perf_counter_ns() - start
            counter.count += 1
            counter.nanoseconds += took
            counter.buckets[took.bit_length()] += 1
            counter.slowest = max(counter.slowest, took)

    return request
