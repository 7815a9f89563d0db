"""A call on another thread, waited for by the event loop itself while nothing else happens.

To suspend a handler, wake it from another thread and have somebody else read requests meanwhile costs ten
system calls and several passes through the scheduler: a tenth of a small file's fsync. Where only one program
uses the mount there is nothing to do meanwhile. So the loop sleeps until the call is done or the next request
comes, and only then, or when it takes long, the handler is suspended.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

T = TypeVar("T")
Call = Callable[[], Any]

PATIENCE_MS: Final = 5
"""For so long signals, timers and other tasks may have to wait."""


class _Job:
    __slots__ = ("call", "done", "error", "result", "task")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.task: trio.lowlevel.Task | None = None
        """Suspended until it is done."""


class Beside:
    """On the event loop's thread; ``_lock`` guards what a job and the thread share."""

    def __init__(self, alone: Callable[[], bool], descriptor: Callable[[], int]) -> None:
        """``alone``: no other request is answered or waits; ``descriptor``: where requests come from."""
        self._alone = alone
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._go = threading.Semaphore(0)
        self._done = -1
        self._busy = False
        self._job: _Job | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def run(self, call: Callable[[], T], otherwise: Callable[[Callable[[], T]], Awaitable[T]]) -> T:
        """``otherwise``: how to call it where others want the loop. Not cancellable."""
        if self._busy or self._descriptor() < 0 or not self._alone():
            return await otherwise(call)
        self._busy = True
        try:
            job = self._start(call)
            poll = select.poll()
            poll.register(self._done, select.POLLIN)
            poll.register(self._descriptor(), select.POLLIN)
            poll.poll(PATIENCE_MS)
            with self._lock:
                if job.done:
                    os.eventfd_read(self._done)
                else:
                    job.task = trio.lowlevel.current_task()
            if job.task is not None:
                await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
            if job.error is not None:
                raise job.error
            result: T = job.result
            return result
        finally:
            self._busy = False

    def _start(self, call: Call) -> _Job:
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
            self._done = os.eventfd(0, os.EFD_CLOEXEC)
            threading.Thread(target=self._run, name="beside", daemon=True).start()
        job = self._job = _Job(call)
        self._go.release()
        return job

    def _run(self) -> None:
        while True:
            self._go.acquire()
            job = self._job
            assert job is not None
            try:
                job.result = job.call()
            except BaseException as error:  # noqa: BLE001  # raised in the handler
                job.error = error
            with self._lock:
                job.done = True
                if job.task is None:
                    os.eventfd_write(self._done, 1)
                    continue
            assert self._token is not None
            try:
                self._token.run_sync_soon(trio.lowlevel.reschedule, job.task)
            except trio.RunFinishedError:
                return
