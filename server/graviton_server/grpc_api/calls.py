"""What every call goes through: who calls, how long it may take, what it is told when it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import grpc

from graviton_server.control.tallies import Tallies
from graviton_server.grpc_api.parsing import all_whole, whole
from graviton_server.grpc_api.principals import ADMIN, READ, WRITE, Authenticate, Credentials, Principal
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.grpc_api.statuses import code_of, message_of, trailer_of
from gravitonfs.core.correlation import begin, request_id
from gravitonfs.errors import (
    AccessDenied,
    GravitonError,
    Internal,
    Invalid,
    Kind,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("graviton.grpc")

_OURS: Final = frozenset({Kind.INTERNAL, Kind.DAMAGED, Kind.UNAVAILABLE, Kind.NO_SPACE, Kind.FORMAT})
"""Kinds that count as errors of the server; all others are answers."""
_BEARER: Final = "bearer "


class Call:
    """One call in progress, as a service sees it."""

    __slots__ = ("_context", "ended", "principal", "started")

    def __init__(self, context: grpc.ServicerContext, principal: Principal) -> None:
        self._context = context
        self.principal = principal
        self.started = time.monotonic()
        self.ended = False

    @property
    def active(self) -> bool:
        """Somebody still waits for the answer."""
        return not self.ended and self._context.is_active()

    def cancel(self) -> None:
        self._context.cancel()

    def may_read(self, volume: str) -> None:
        self._need(READ, volume)

    def may_write(self, volume: str) -> None:
        self._need(WRITE, volume)

    def may_administer(self) -> None:
        self._need(ADMIN, "")

    def _need(self, scope: str, volume: str) -> None:
        if not self.principal.allows(scope, volume):
            what = f"of volume {volume!r}" if volume else "of this store"
            raise AccessDenied(f"{self.principal.name} has no scope graviton:{scope} {what}")


class Guard:
    """Wraps the methods of services. Thread-safe; ``_lock`` guards ``_running``."""

    def __init__(self, settings: GrpcSettings, authenticate: Authenticate, tallies: Tallies) -> None:
        self._settings = settings
        self._authenticate = authenticate
        self._tallies = tallies
        self._lock = threading.Lock()
        self._running: set[Call] = set()
        self._header = settings.correlation_header.lower()

    def unary(self, operation: str, method: Callable[[Any, Call], Any]) -> Callable[[Any, Any], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with self._around(operation, context, bounded=True) as call:
                return method(whole(request), call)

        return handle

    def stream_in(self, operation: str, method: Callable[[Any, Call], Any]) -> Callable[[Any, Any], Any]:
        def handle(requests: Any, context: grpc.ServicerContext) -> Any:
            with self._around(operation, context, bounded=False) as call:
                return method(all_whole(requests), call)

        return handle

    def stream_out(
        self, operation: str, method: Callable[[Any, Call], Iterator[Any]]
    ) -> Callable[[Any, Any], Iterator[Any]]:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._around(operation, context, bounded=False) as call:
                yield from method(whole(request), call)

        return handle

    def overdue(self) -> None:
        """End unary calls that take longer than they may. Called now and then."""
        limit = time.monotonic() - self._settings.request_timeout
        with self._lock:
            late = [call for call in self._running if call.started < limit]
        for call in late:
            call.cancel()

    @contextmanager
    def _around(self, operation: str, context: grpc.ServicerContext, *, bounded: bool) -> Iterator[Call]:
        metadata = dict(context.invocation_metadata())
        given = metadata.get(self._header)
        before = request_id.set("")
        number = begin(given if isinstance(given, str) else None)
        if given is not None:
            context.set_trailing_metadata(((self._header, number),))
        started = time.monotonic()
        call: Call | None = None
        failure: str | None = None
        told = "ok"
        try:
            try:
                call = Call(context, self._authenticate(_credentials(metadata, context)))
                if bounded:
                    with self._lock:
                        self._running.add(call)
                yield call
            except GravitonError as error:
                told, failure = error.kind.value, self._told(operation, error)
                self._abort(context, error)
            except OverflowError:
                told = Kind.INVALID.value
                self._abort(context, Invalid("a number is too large"))
            except grpc.RpcError:
                raise  # the client is gone
            except Exception as error:  # a bug must not look like an answer
                log.exception("%s failed (request %s)", operation, request_id.get())
                told = failure = Kind.INTERNAL.value
                what = repr(error) if self._settings.reveal_internals else "see the server's log"
                self._abort(context, Internal(f"the server failed: {what}"))
        finally:
            if call is not None:
                call.ended = True
                with self._lock:
                    self._running.discard(call)
            seconds = time.monotonic() - started
            self._tallies.request(operation, seconds, failure)
            # Mounts make thousands of calls a second: only those that somebody follows have a line each.
            level = logging.DEBUG if given is None else logging.INFO
            if log.isEnabledFor(level):
                self._note(level, operation, told, seconds, call, context)
            request_id.reset(before)

    def _told(self, operation: str, error: GravitonError) -> str | None:
        if error.kind not in _OURS:
            log.debug("%s: %s (request %s)", operation, error, request_id.get())
            return None
        level = logging.INFO if isinstance(error, Unavailable) else logging.ERROR
        log.log(level, "%s: %s (request %s)", operation, error, request_id.get())
        return error.kind.value

    @staticmethod
    def _note(
        level: int,
        operation: str,
        told: str,
        seconds: float,
        call: Call | None,
        context: grpc.ServicerContext,
    ) -> None:
        fields = {
            "method": operation, "status": told, "seconds": round(seconds, 6), "remote": context.peer(),
            "caller": "" if call is None else call.principal.name,
        }  # fmt: skip
        log.log(level, "%s %s", operation, told, extra={"fields": fields})

    def _abort(self, context: grpc.ServicerContext, error: GravitonError) -> None:
        context.set_trailing_metadata((*trailer_of(error), (self._header, request_id.get())))
        context.abort(code_of(error), message_of(error))


def _credentials(metadata: dict[str, str | bytes], context: grpc.ServicerContext) -> Credentials:
    token = None
    header = metadata.get("authorization")
    if isinstance(header, str):
        if not header.lower().startswith(_BEARER):
            raise Unauthenticated("the authorization has to be 'Bearer' and a token")
        token = header[len(_BEARER) :].strip()
    return Credentials(token, context.peer(), _certificate(context))


def _certificate(context: grpc.ServicerContext) -> Mapping[str, Sequence[bytes]]:
    return cast(Mapping[str, Sequence[bytes]], context.auth_context())  # the stubs have it wrong
