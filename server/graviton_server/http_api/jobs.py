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
from graviton_server.http_api.jobboard import TELL, JobBoard
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
    def __init__(self, kind: str, request: Request[Any]) -> None:
        self.volume: str | None = getattr(request, "volume", None)
        self.over = threading.Event()
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

    def __init__(self, run: Run, board: JobBoard | None = None) -> None:
        """``board``: where the jobs of other daemons are told."""
        self._run = run
        self._board = board
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: list[threading.Thread] = []

    def start(self, kind: str, request: Request[Any], *, alone: bool = True) -> Job:
        """Refused (409) where one of its kind runs already and it is to be ``alone``, or too many do."""
        job = Job(kind, request)
        with self._lock:
            running = [other for other in self._jobs.values() if other.state == "running"]
            if alone and any(other.kind == kind for other in running):
                raise Refused(409, f"there is a job {kind} under way: wait for it, or cancel it")
            if len(running) >= _AT_ONCE:
                raise Refused(409, f"{_AT_ONCE} jobs are under way: wait for one, or cancel it")
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
        if self._board is not None:
            telling = threading.Thread(
                target=self._tell, args=(job, self._board), name="job-telling", daemon=True
            )
            with self._lock:
                self._threads.append(telling)
            telling.start()
        return job

    def _tell(self, job: Job, board: JobBoard) -> None:
        """To other daemons, until it has ended."""
        board.thin()
        while not job.over.is_set():
            board.tell(job.id, job.told(), job.volume)
            if board.is_to_end(job.id):
                job.channel.cancelled.set()
            job.over.wait(TELL)
        board.tell(job.id, job.told(), job.volume)

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
        job.over.set()

    def all(self) -> list[dict[str, Any]]:
        """As they are told, the oldest first."""
        found = {} if self._board is None else {job: entry.now() for job, entry in self._board.all().items()}
        with self._lock:
            found |= {job.id: job.told() for job in self._jobs.values()}
        return sorted(found.values(), key=lambda told: float(told["started"]))

    def one(self, number: str) -> tuple[dict[str, Any], str | None]:
        """As it is told, and the volume it is about, if it is about one. NotFound."""
        with self._lock:
            found = self._jobs.get(number)
        if found is not None:
            return found.told(), found.volume
        entry = None if self._board is None else self._board.one(number)
        if entry is None:
            raise NotFound("there is no such job")
        return entry.now(), entry.volume

    def cancel(self, number: str) -> dict[str, Any]:
        """NotFound."""
        told, _ = self.one(number)
        with self._lock:
            found = self._jobs.get(number)
        if found is not None:
            found.channel.cancelled.set()
        elif self._board is not None and told["state"] == "running":
            self._board.end(number)
        return told

    def close(self, timeout: float = 10.0) -> None:
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.channel.cancelled.set()
        for thread in self._threads:
            thread.join(timeout)
