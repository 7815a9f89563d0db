"""What putting and getting share: several files at a time, progress, and what went wrong on the way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from graviton_server.cli import output
from graviton_server.control.wire import Event
from gravitonfs.errors import GravitonError, Kind

# These concern the volume, not one file: going on would only fail again and again.
_FATAL = {
    Kind.NO_SPACE,
    Kind.QUOTA,
    Kind.READ_ONLY,
    Kind.ACCESS_DENIED,
    Kind.UNAVAILABLE,
    Kind.FENCED,
    Kind.INTERNAL,
    Kind.LOCKED,
    Kind.FORMAT,
}


class Stopped(Exception):
    """The transfer ends early; raised in its threads."""


class Tally:
    """What was done so far, shown as it grows. ``_lock`` guards all of it."""

    def __init__(self, on_event: output.OnEvent) -> None:
        self.files = 0
        self.skipped = 0
        self.directories = 0
        self.others = 0
        self.bytes = 0
        self.total_bytes = 0
        self.problems: list[str] = []
        self._on_event = on_event
        self._lock = threading.Lock()

    def expect(self, count: int) -> None:
        with self._lock:
            self.total_bytes += count

    def moved(self, count: int) -> None:
        with self._lock:
            self.bytes += count
            self._show()

    def file(self, count: int = 1, *, skipped: bool = False, size: int = 0) -> None:
        with self._lock:
            if skipped:
                self.skipped += count
                self.total_bytes -= size
            else:
                self.files += count

    def link(self, size: int) -> None:
        """One more name of a file whose bytes are moved once."""
        with self._lock:
            self.others += 1
            self.total_bytes -= size

    def problem(self, sentence: str) -> None:
        """Told at once; the transfer goes on with the next file and fails at the end."""
        with self._lock:
            self.problems.append(sentence)
        output.say(sentence)

    def remark(self, sentence: str) -> None:
        """Something is not as it was, but no file is missing for it."""
        output.say(sentence)

    def as_dict(self) -> dict[str, int | list[str]]:
        return {
            "files": self.files,
            "skipped": self.skipped,
            "directories": self.directories,
            "others": self.others,
            "bytes": self.bytes,
            "problems": self.problems,
        }

    def _show(self) -> None:
        self._on_event(Event(self.bytes, max(self.total_bytes, self.bytes)))


class Jobs:
    """Runs so many at a time and lets few wait, so that memory does not grow with the tree.

    A fatal error in one ends all; a context manager that waits for them.
    """

    def __init__(self, count: int, tally: Tally) -> None:
        self._tally = tally
        self._pool = ThreadPoolExecutor(count, "transfer")
        self._room = threading.Semaphore(2 * count)
        self._fatal: BaseException | None = None
        self.stopping = threading.Event()

    def start(self, what: str, job: Callable[[], None]) -> None:
        """``what`` names the job in a sentence about its failure."""
        # A timeout, because a plain acquire() would keep Ctrl-C waiting.
        while not self._room.acquire(timeout=0.5):
            pass
        self.check()
        self._pool.submit(self._run, what, job).add_done_callback(self._done)

    def check(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        if self.stopping.is_set():
            raise Stopped

    def attempt(self, what: str, job: Callable[[], None]) -> bool:
        """The same at once, on this thread; False when it failed."""
        self.check()
        done = self._run(what, job)
        self.check()
        return done

    def _done(self, _: Future[bool]) -> None:
        self._room.release()

    def _run(self, what: str, job: Callable[[], None]) -> bool:
        if self.stopping.is_set():
            return False
        try:
            job()
            return True
        except Stopped:
            pass
        except GravitonError as error:
            if error.kind in _FATAL:
                self._stop(error)
            else:
                self._tally.problem(f"{what}: {error}")
        except OSError as error:
            self._tally.problem(f"{what}: {error.strerror or error}")
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            self._stop(error)
        return False

    def _stop(self, error: BaseException) -> None:
        self._fatal = self._fatal or error
        self.stopping.set()

    def __enter__(self) -> Jobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._pool.shutdown(wait=True)
        finally:
            # After an error, or Ctrl-C while waiting: what runs sees the flag and ends.
            if kind is not None or sys.exc_info()[0] is not None:
                self.stopping.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
        if kind is None and self._fatal is not None:
            raise self._fatal
