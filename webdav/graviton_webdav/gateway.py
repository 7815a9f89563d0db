"""From an HTTP request to a method and its answer: authentication, dispatch, errors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import NamedTuple

from graviton_webdav.auth import Guard
from graviton_webdav.bodies import Body
from graviton_webdav.faults import Refused, refusal_of
from graviton_webdav.http_connection import DavHTTPRequest
from graviton_webdav.live_properties import Quota
from graviton_webdav.lock_methods import LockMethods
from graviton_webdav.messages import Request, Response, refused_response
from graviton_webdav.outgoing import Outgoing
from graviton_webdav.paths import parse_target
from graviton_webdav.propfind import Propfind
from graviton_webdav.proppatch import Proppatch
from graviton_webdav.resources import is_collection
from graviton_webdav.shelf import Shelf
from graviton_webdav.traffic import Traffic
from graviton_webdav.tree_methods import TreeMethods
from graviton_webdav.upload import Owner, Upload
from gravitonfs.content.pool import Attached
from gravitonfs.content.volume import Volume
from gravitonfs.core.correlation import begin
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError, Kind, QuotaExceeded, Throttled

log = logging.getLogger("graviton.webdav")

_OTHER = "other"
_KNOWN = (
    "OPTIONS", "GET", "HEAD", "PROPFIND", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK",
    "UNLOCK",
)  # fmt: skip
# Names of the methods that a read-only volume refuses.
_WRITING = frozenset(("PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK"))


class Counters(NamedTuple):
    """Since the start; ``errors`` without clients' own mistakes, ``seconds`` until the answer began."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    slowest: float = 0.0

    def and_one(self, spent: float, *, failed: bool) -> Counters:
        slowest = max(self.slowest, spent)
        return Counters(self.requests + 1, self.errors + failed, self.seconds + spent, slowest)


Method = Callable[[Request], Response]


class Gateway:
    """Answers requests for one volume, attached by ``attached`` for each. Thread-safe; ``_lock`` guards the
    counters."""

    def __init__(
        self,
        attached: Callable[[], AbstractContextManager[Attached]],
        guard: Guard,
        owner: Owner,
        quota: Callable[[Volume, Ino], Quota],
        correlation_header: str,
        max_file_size: int | None,
        traffic: Traffic,
        *,
        read_only: bool,
    ) -> None:
        self._attached = attached
        self._owner = owner
        self._quota = quota
        self._max_file_size = max_file_size
        self._traffic = traffic
        self._guard = guard
        self._correlation_header = correlation_header
        self._correlation_key = correlation_header.title().encode()
        self._read_only = read_only
        self._allowed = ", ".join(m for m in _KNOWN if not (self._read_only and m in _WRITING))
        self._lock = threading.Lock()
        self._counters = dict.fromkeys((*_KNOWN, _OTHER), Counters())
        self._buckets = {method: [0] * 64 for method in self._counters}
        self._errors: dict[str, int] = {}
        self._done = {"PUT": 0, "GET": 0}
        self.busy = 0

    def _methods(self, attached: Attached) -> dict[str, Method]:
        """Those of a session."""
        shelf, volume = attached.part(Shelf), attached.volume
        found, locks, conditions, owner = shelf.resources, shelf.locks, shelf.conditions, self._owner
        tree = TreeMethods(found, locks, conditions, owner)
        locking = LockMethods(found, locks, conditions, owner)
        return {
            "OPTIONS": partial(self._options, shelf),
            "GET": partial(self._get, shelf),
            "HEAD": shelf.download,
            "PROPFIND": Propfind(found, locks, conditions, partial(self._quota, volume)),
            "PUT": Upload(found, locks, conditions, owner, self._max_file_size, self._traffic),
            "DELETE": tree.delete,
            "MKCOL": tree.mkcol,
            "COPY": tree.copy,
            "MOVE": tree.move,
            "PROPPATCH": Proppatch(found, locks, conditions),
            "LOCK": locking.lock,
            "UNLOCK": locking.unlock,
        }

    def counters(self) -> dict[str, Counters]:
        """By method."""
        return dict(self._counters)

    def latencies(self) -> dict[str, list[int]]:
        """By method: how many requests took under 2 to the power of the index nanoseconds, and not under
        half of that."""
        with self._lock:
            return {method: list(buckets) for method, buckets in self._buckets.items()}

    def errors(self) -> dict[str, int]:
        """Requests that failed by no fault of the client's, by kind."""
        with self._lock:
            return dict(self._errors)

    def transfers(self) -> dict[str, int]:
        """Files that were stored, and handed out."""
        return {"uploads": self._done["PUT"], "downloads": self._done["GET"]}

    def __call__(self, http: DavHTTPRequest, body: Body) -> Response:
        """The answer to one request; every error becomes one."""
        started = time.perf_counter()
        with self._lock:
            self.busy += 1
        status, kind, ours = 500, Kind.INTERNAL.value, True
        try:
            given = http.inheaders.get(self._correlation_key)
            number = begin(None if given is None else given.decode("latin-1"))
            try:
                response = self._answered(http, body)
            except GravitonError as error:
                kind = error.kind.value
                ours = not isinstance(error, Throttled | QuotaExceeded)
                if ours and error.http_status >= 500:
                    log.error("%s %s: %s", http.method.decode("latin-1"), http.uri.decode("latin-1"), error)
                response = refused_response(refusal_of(error))
            response.headers.append((self._correlation_header, number))
            status = response.status
            return response
        finally:
            with self._lock:
                self.busy -= 1
                spent = time.perf_counter() - started
                method = http.method.decode("ascii", "replace")
                method = method if method in _KNOWN else _OTHER
                failed = ours and status >= 500
                self._counters[method] = self._counters[method].and_one(spent, failed=failed)
                self._buckets[method][int(spent * 1e9).bit_length()] += 1
                if failed:
                    self._errors[kind] = self._errors.get(kind, 0) + 1
                elif status < 300 and method in self._done:
                    self._done[method] += 1
            if log.isEnabledFor(logging.INFO):
                self._note(http, status, spent)

    @staticmethod
    def _note(http: DavHTTPRequest, status: int, spent: float) -> None:
        method, target = http.method.decode("latin-1"), http.uri.decode("latin-1")
        fields = {
            "method": method, "path": target, "status": status, "seconds": round(spent, 6),
            "remote": http.conn.remote_addr or "",
        }  # fmt: skip
        log.info("%s %s %d", method, target, status, extra={"fields": fields})

    def _answered(self, http: DavHTTPRequest, body: Body) -> Response:
        try:
            return self._answer(http, body)
        except Refused as refused:
            if refused.close:
                http.close_connection = True
            return refused_response(refused)
        except TimeoutError:  # of the connection: nothing else that is waited for ends so
            http.close_connection = True
            return refused_response(Refused(408, "the next byte did not come in time"))

    def _answer(self, http: DavHTTPRequest, body: Body) -> Response:
        name = http.method.decode("latin-1")
        request = Request(name, (), False, http.inheaders, body, http.scheme.decode("latin-1"))
        request.principal = self._guard.principal(request)
        if http.uri == b"*" and name == "OPTIONS":
            return self._capabilities()
        request.path, request.slash = parse_target(http.uri)
        if name not in _KNOWN:
            raise Refused(405, f"{name[:20]} is not known here", headers=[("Allow", self._allowed)])
        if self._read_only and name in _WRITING:
            raise Refused(403, "the volume is read-only")
        with ExitStack() as held:
            attached = held.enter_context(self._attached())
            response = attached.part(self._methods)[name](request)
            if response.stream is not None:
                response.stream = Outgoing(response.stream, held.pop_all())
            return response

    def _capabilities(self) -> Response:
        # MS-Author-Via makes Windows and Office use WebDAV instead of the FrontPage protocol.
        classes = "1" if self._read_only else "1, 2"
        return Response(200, [("DAV", classes), ("MS-Author-Via", "DAV"), ("Allow", self._allowed)])

    def _get(self, shelf: Shelf, request: Request) -> Response:
        response = shelf.download(request)
        if response.stream is not None:
            response.stream = self._traffic.pace(response.stream)
        else:
            self._traffic.sent(len(response.body))
        return response

    def _options(self, shelf: Shelf, request: Request) -> Response:
        response = self._capabilities()
        attr = shelf.resources.find(request.path).attr
        if attr is not None and not is_collection(attr):
            response.headers.append(("Accept-Ranges", "bytes"))
        return response
