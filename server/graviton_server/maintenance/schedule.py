"""When background work runs: one thread, which looks for something to do and gives way to users.

Work is due when the volume has changed since that kind of work last looked, and either nobody uses
the volume or the work has waited long enough. A mark costs time in proportion to the namespace, so
collection rests ten times as long as its last run took.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from graviton_server.maintenance.reports import TaskStatus
from graviton_server.maintenance.work import Activity, Stopped, Work
from gravitonfs.errors import GravitonError

log = logging.getLogger(__name__)

_RETRY: Final = 30.0
_POLL: Final = 1.0


class Timing(NamedTuple):
    """Seconds. ``idle``: without any use before work begins that reads much; ``patience``: after that
    long it runs even on a volume in use; ``rest``: between two runs, at least; ``rest_factor``: so
    many times as long as the last run took, too."""

    idle: float = 0.0
    patience: float = 60.0
    rest: float = 1.0
    rest_factor: float = 0.0


class Task:
    """One kind of work. ``run`` returns a sentence on what it did, empty when there was nothing.

    ``changes`` tells a value that differs when there may be something to do. Only the supervisor's
    thread writes the attributes, but for ``forced`` and ``status``, which its lock guards.
    """

    def __init__(
        self, name: str, run: Callable[[Work], str], changes: Callable[[], object], timing: Timing
    ) -> None:
        self.name = name
        self.run = run
        self.changes = changes
        self.timing = timing
        self.seen: object = None
        self.waiting_since = 0.0
        self.ended = float("-inf")
        self.rest = timing.rest
        self.forced = False
        self.status = TaskStatus(name=name, state="waiting")

    def tell(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)


class Supervisor:
    """Runs the tasks, in their order, until stopped.

    ``_lock`` (a condition) guards ``forced`` and ``status`` of the tasks, ``_in_round`` and
    ``_useful``, the number of runs that found something to do. ``urgent``: the disk is nearly full,
    so nothing waits.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        activity: Activity,
        urgent: Callable[[], bool],
        bytes_per_second: int,
    ) -> None:
        self._tasks = tasks
        self._activity = activity
        self._urgent = urgent
        self._rate = bytes_per_second
        self._lock = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last_activity: object = None
        self._active_at = float("-inf")
        self._in_round = False
        self._useful = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="maintenance", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing runs any more; what was under way has stopped at a safe point."""
        self._stop.set()
        with self._lock:
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wake(self, *names: str) -> None:
        """Run these tasks now (all, if none is named), whether or not anything has changed."""
        with self._lock:
            for task in self._tasks:
                if not names or task.name in names:
                    task.forced = True
            self._lock.notify_all()

    def settle(self, timeout: float) -> bool:
        """Run everything at once, until a whole round finds nothing to do. False: not in time.

        On the calling thread where the supervisor has none of its own.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                before = self._useful
            self.wake()
            if self._thread is None:
                self._round()
            with self._lock:
                if not self._lock.wait_for(self._rested, deadline - time.monotonic()) or self._stop.is_set():
                    return False
                if self._useful == before:
                    return True

    def _rested(self) -> bool:
        return self._stop.is_set() or not (self._in_round or any(task.forced for task in self._tasks))

    def status(self) -> list[TaskStatus]:
        with self._lock:
            return [task.status for task in self._tasks]

    def _quiet(self) -> float:
        """For how many seconds nobody has used the volume."""
        now = self._activity()
        if now != self._last_activity:
            self._last_activity = now
            self._active_at = time.monotonic()
        return time.monotonic() - self._active_at

    def _loop(self) -> None:
        while not self._stop.is_set():
            away = self._try_round()
            with self._lock:
                self._in_round = False
                self._lock.notify_all()
                if away:
                    self._lock.wait_for(self._stop.is_set, _RETRY)
                elif not self._stop.is_set() and not any(task.forced for task in self._tasks):
                    self._lock.wait(_POLL)
                self._in_round = True

    def _try_round(self) -> bool:
        """Whether what there is to do could not even be asked for: the database may be away."""
        try:
            self._round()
        except GravitonError as failure:
            log.warning("background work rests: %s", failure)
            return True
        return False

    def _round(self) -> None:
        self._quiet()
        for task in self._tasks:
            if not self._stop.is_set() and self._due(task):
                self._run(task)

    def _due(self, task: Task) -> bool:
        if task.forced:
            return True
        if task.changes() == task.seen:
            task.waiting_since = 0.0
            return False
        now = time.monotonic()
        task.waiting_since = task.waiting_since or now
        rested = now - task.ended
        if rested >= task.timing.rest and self._urgent():
            return True
        patient = now - task.waiting_since < task.timing.patience
        return rested >= task.rest and (self._quiet() >= task.timing.idle or not patient)

    def _run(self, task: Task) -> None:
        forced = task.forced
        alone = forced or self._urgent()
        work = Work(
            lambda done, total, what: self._progress(task, done, total, what),
            self._stop,
            bytes_per_second=0 if forced else self._rate,
            activity=None if alone else self._activity,
        )
        seen = task.changes()
        began = time.monotonic()
        with self._lock:
            task.forced = False
            task.tell(state="running", last_start=time.time(), done=0, total=0)
        result = error = ""
        try:
            result = task.run(work)
        except Stopped:
            pass
        except GravitonError as failure:
            error = str(failure)
            log.warning("background work (%s) is tried again later: %s", task.name, error)
        except Exception as failure:  # one kind of work must not end all others
            error = repr(failure)
            log.exception("background work (%s) failed", task.name)
        task.ended = time.monotonic()
        task.waiting_since = 0.0
        task.seen = None if error else seen
        task.rest = max(task.timing.rest, task.timing.rest_factor * (task.ended - began))
        if error:
            task.rest = max(task.rest, _RETRY)
        with self._lock:
            self._useful += bool(result)
            task.tell(
                state="failed" if error else "waiting",
                runs=task.status.runs + 1,
                last_end=time.time(),
                last_result=result or task.status.last_result,
                error=error,
                what="",
            )

    def _progress(self, task: Task, done: int, total: int, what: str) -> None:
        with self._lock:
            task.tell(done=done, total=total, what=what)
