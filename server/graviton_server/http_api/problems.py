"""Errors as the API tells them: RFC 9457, with the statuses of the one table in ``gravitonfs.errors``."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import falcon
import msgspec

from graviton_webdav.faults import Refused
from gravitonfs.core.correlation import request_id
from gravitonfs.errors import GravitonError, Kind, Throttled

log = logging.getLogger("graviton.http")

TYPE: Final = "application/problem+json"
_INSIDE: Final = (Kind.DAMAGED, Kind.INTERNAL, Kind.FORMAT)
"""What is broken inside is logged, not told."""
_PLAIN: Final = (Kind.NO_SPACE, Kind.QUOTA)
_UNNAMED: Final = "about:blank"

_BY_STATUS: Final = {
    400: "invalid", 401: "unauthenticated", 403: "access-denied", 404: "not-found",
    405: "method-not-allowed", 408: "timeout", 409: "conflict", 412: "precondition-failed",
    413: "too-large", 415: "unsupported-media-type",
    416: "range", 429: "throttled", 500: "internal", 501: "unsupported", 503: "unavailable",
}  # fmt: skip


class Problems:
    """``production``: sentences about the inside of the server stay there."""

    def __init__(self, *, production: bool) -> None:
        self._production = production

    def install(self, app: falcon.App[Any, Any]) -> None:
        """Whatever is raised becomes a problem; nothing else decides what a client is told."""
        app.set_error_serializer(self._serialize)
        app.add_error_handler(Exception, self._unexpected)
        app.add_error_handler(falcon.HTTPError, self._http_error)
        app.add_error_handler(GravitonError, self._graviton)
        app.add_error_handler(Refused, self._refused)
        app.add_error_handler(OSError, self._connection)

    def write(
        self,
        resp: falcon.Response,
        status: int,
        kind: str,
        detail: str,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        for name, value in headers:
            resp.set_header(name, value)
        resp.status = falcon.code_to_http_status(status)
        resp.context.error_class = kind
        if status in (204, 304):
            return
        problem: dict[str, Any] = {
            "type": f"urn:graviton:problem:{kind}",
            "title": _title(status),
            "status": status,
            "detail": detail,
        }
        if request_id.get():
            problem["request_id"] = request_id.get()
        resp.content_type = TYPE
        resp.stream = None
        resp.data = msgspec.json.encode(problem)

    def _graviton(
        self, req: falcon.Request, resp: falcon.Response, error: GravitonError, params: dict[str, Any]
    ) -> None:
        status = error.http_status
        detail = str(error)
        if status >= 500 and error.kind is not Kind.QUOTA:  # which is as it was set
            log.error("%s %s: %s", req.method, req.path, error)
            if error.kind in _INSIDE or (self._production and error.kind not in _PLAIN):
                detail = "the server could not answer; its log says why"
        headers: list[tuple[str, str]] = []
        if isinstance(error, Throttled):
            headers.append(("Retry-After", str(max(1, math.ceil(error.retry_after)))))
        elif status == 503:
            headers.append(("Retry-After", "5"))
        elif error.kind is Kind.UNAUTHENTICATED:
            code = ', error="invalid_token"' if req.auth else ""
            headers.append(("WWW-Authenticate", f'Bearer realm="graviton"{code}'))
        self.write(resp, status, error.kind.value, detail, headers)

    def _refused(
        self, req: falcon.Request, resp: falcon.Response, error: Refused, params: dict[str, Any]
    ) -> None:
        if error.close:
            req.env["graviton.request"].close_connection = True
        self.write(resp, error.status, _BY_STATUS.get(error.status, "other"), str(error), error.headers)

    def _http_error(
        self, req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]
    ) -> None:
        status = error.status_code
        detail = error.description or error.title or _title(status)
        headers = list(dict(error.headers or {}).items())
        self.write(resp, status, _BY_STATUS.get(status, "other"), detail, headers)

    def _serialize(self, req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
        self._http_error(req, resp, error, {})

    def _connection(
        self, req: falcon.Request, resp: falcon.Response, error: OSError, params: dict[str, Any]
    ) -> None:
        """The client went silent or away in the middle of its request."""
        req.env["graviton.request"].close_connection = True
        if isinstance(error, TimeoutError):
            self.write(resp, 408, "timeout", "the next byte did not come in time")
            return
        if not isinstance(error, ConnectionError):
            self._unexpected(req, resp, error, params)
            return
        self.write(resp, 400, "invalid", "the connection ended in the middle of the request")

    def _unexpected(
        self, req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
    ) -> None:
        log.error("%s %s failed", req.method, req.path, exc_info=error)
        detail = "the server could not answer; its log says why"
        self.write(resp, 500, Kind.INTERNAL.value, detail)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
