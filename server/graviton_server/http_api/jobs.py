"""Long work that the API starts: it goes on when the client has gone, and is asked after."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

import msgspec

from graviton_server.control.calls import Cancelled, Channel
from graviton_server.control.request import Request
from graviton_server.control.wire import Event
from graviton_webdav.faults import Refused
from gravitonfs.errors import GravitonError, NotFound

log = logging.getLogger("graviton.http")

_KEPT: Final = 100
_AT_ONCE: Final = 4

Run = Callable[[Request[Any], Channel], Any]


class JobChannel:
    """A handler's way to a job."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.last: Event | None = None

    def event(self, event: Event) -> None:
        if self.cancelled.is_set():
            raise Cancelled
        self.last = event

    def send(self, data: object) -> None:
        pass

    def hole(self, length: int) -> None:
        pass

    def receive(self) -> Any:
        return iter(())


class Job:
    def __init__(self, kind: str) -> None:
        self.id = uuid.uuid4().hex
        self.kind = kind
        self.started = time.time()
        self.ended: float | None = None
        self.state = "running"
        self.result: Any = None
        self.error: str | None = None
        self.channel = JobChannel()

    def told(self) -> dict[str, Any]:
        last = self.channel.last
        progress = None if last is None else {"done": last.done, "total": last.total, "what": last.what}
        return {
            "id": self.id, "kind": self.kind, "state": self.state, "started": self.started,
            "ended": self.ended, "progress": progress, "result": self.result, "error": self.error,
        }  # fmt: skip


class Jobs:
    """Thread-safe; ``_lock`` guards the table."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: list[threading.Thread] = []

    def start(self, kind: str, request: Request[Any]) -> Job:
        """Refused (409) where one of its kind runs already, or too many do."""
        job = Job(kind)
        with self._lock:
            running = [other for other in self._jobs.values() if other.state == "running"]
            if any(other.kind == kind for other in running) or len(running) >= _AT_ONCE:
                raise Refused(409, f"there is a job {kind} under way: wait for it, or cancel it")
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                oldest = next(found for found in self._jobs.values() if found.state != "running")
                del self._jobs[oldest.id]
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(
                target=copy_context().run, args=(self._work, job, request), name=f"job-{kind}", daemon=True
            )
            self._threads.append(thread)
        thread.start()
        return job

    def _work(self, job: Job, request: Request[Any]) -> None:
        try:
            job.result = msgspec.to_builtins(self._run(request, job.channel))
            job.state = "done"
        except Cancelled:
            job.state = "cancelled"
        except GravitonError as error:
            job.state = "cancelled" if job.channel.cancelled.is_set() else "failed"
            job.error = str(error)
        except Exception:
            log.exception("the job %s failed", job.kind)
            job.state, job.error = "failed", "the log says why"
        job.ended = time.time()

    def all(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    def one(self, number: str) -> Job:
        with self._lock:
            found = self._jobs.get(number)
        if found is None:
            raise NotFound("there is no such job")
        return found

    def cancel(self, number: str) -> Job:
        job = self.one(number)
        job.channel.cancelled.set()
        return job

    def close(self, timeout: float = 10.0) -> None:
        for job in self.all():
            job.channel.cancelled.set()
        for thread in self._threads:
            thread.join(timeout)
