"""Reading from a second copy when the first takes unusually long; the first good answer wins.

"Unusually" is what that target's own recent reads say. A share of the reads bounds how many are asked for
twice, so that targets that are slow because they are busy do not get twice the load.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

from graviton_server.replication.members import Member
from gravitonfs.errors import GravitonError
from gravitonfs.ports.target import Target

SHARE: Final = 0.05
"""Of all reads, at most so many are asked for twice."""
BURST: Final = 10.0
HANGS: Final = 1.0
"""Seconds after which the share does not matter: that target is not busy, it hangs."""
_THREADS: Final = 16
_MEASURED: Final = 1 << 20
"""Bytes: longer reads take long for what they are."""
_PACE: Final = 20_000_000
"""Bytes a second that a read may take beside what is usual."""

T = TypeVar("T")


class Hedging:
    """``_lock`` guards the counters and what may still be spent. A read of a local directory is made on the
    caller's thread, which cannot leave it, until one there has been slow: a hop to another thread would cost
    as much as the read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hedged")
        self._running = 0
        self._budget = BURST
        self.hedged = 0
        self.won = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(
        self, member: Member, second: Callable[[], Member | None], call: Callable[[Target], T], size: int
    ) -> T:
        """``call``, which reads ``size`` bytes, on a target, and on ``second`` if that takes long. Raises
        what the first one raised where the other has no answer either."""
        with self._lock:
            self._budget = min(BURST, self._budget + SHARE)
        target = member.opened()
        other = second() if member.row.kind != "directory" or member.latency.was_slow else None
        first = None if other is None else self._submit(member, target, call, size)
        if first is None or other is None:
            return _timed(member, target, call, size)
        began = time.monotonic()
        if wait([first], timeout=member.latency.unusual() + size / _PACE).done:
            return first.result()
        if not self._may_hedge() and wait([first], timeout=HANGS).done:
            return first.result()
        return self._either(first, self._submit(other, other.opened(), call, size), member, began)

    def _submit(
        self, member: Member, target: Target, call: Callable[[Target], T], size: int
    ) -> Future[T] | None:
        """None where all threads wait for slow targets."""
        with self._lock:
            if self._running >= _THREADS:
                return None
            self._running += 1
        future = self._pool.submit(_timed, member, target, call, size)
        future.add_done_callback(self._ended)
        return future

    def _ended(self, future: Future[T]) -> None:
        with self._lock:
            self._running -= 1

    def _may_hedge(self) -> bool:
        with self._lock:
            if self._budget < 1.0:
                return False
            self._budget -= 1.0
            self.hedged += 1
            return True

    def _either(self, first: Future[T], other: Future[T] | None, member: Member, began: float) -> T:
        if other is None:
            return first.result()
        wait([first, other], return_when=FIRST_COMPLETED)
        if other.done() and not first.done():
            try:
                found = other.result()
            except GravitonError:
                return first.result()
            member.latency.hangs(time.monotonic() - began)
            first.add_done_callback(lambda ended: member.latency.ended())
            with self._lock:
                self.won += 1
            return found
        try:
            return first.result()
        except GravitonError:
            try:
                return other.result()
            except GravitonError:
                pass
            raise


def _timed(member: Member, target: Target, call: Callable[[Target], T], size: int) -> T:
    began = time.monotonic()
    found = call(target)
    took = time.monotonic() - began
    if size <= _MEASURED or took > size / _PACE:
        member.latency.took(took if size <= _MEASURED else took - size / _PACE)
    return found
