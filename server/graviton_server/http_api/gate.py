"""Before and after every request: its id, who calls, how long it took, what browsers do with the answer."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import falcon

from graviton_server.auth.authenticator import Authenticator
from graviton_server.auth.identity import ADMIN, ANYONE
from graviton_server.control.tallies import Tallies
from graviton_server.http_api.browsers import Browsers
from graviton_server.http_api.context import gateway_request
from graviton_server.http_api.settings import HttpSettings
from graviton_webdav.auth import LoopbackGuard
from gravitonfs.core.correlation import begin, request_id
from gravitonfs.errors import AccessDenied, Unauthenticated

log = logging.getLogger("graviton.http")

OPEN: Final = ("/health", "/metrics", "/openapi.json", "/console")
_SESSION: Final = "/api/v1/session"
_API: Final = "/api/"
_HARMLESS: Final = (
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline';"
    " frame-ancestors 'none'"
)
"""What somebody stored is shown, and never runs in the name of whoever looks at it."""
_ADMIN: Final = "/api/v1/admin"
_OTHER: Final = "other"


class Gate:
    """falcon's middleware. ``local``: everybody on this machine is let in, and nobody else can reach us."""

    def __init__(
        self,
        settings: HttpSettings,
        authenticator: Authenticator | None,
        browsers: Browsers | None,
        tallies: Tallies,
        *,
        local: bool,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._browsers = browsers
        self._tallies = tallies
        self._guard = LoopbackGuard() if local and authenticator is None else None

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.started = time.perf_counter()
        resp.context.error_class = None
        given = begin(req.get_header(self._settings.correlation_header))
        resp.set_header(self._settings.correlation_header, given)
        if req.path.startswith(OPEN) or req.path == "/":
            return
        if self._authenticator is None:
            req.context.identity = ANYONE
            self._refuse_pages(req)
        elif req.path == _SESSION:  # which tells whether anybody is signed in, too
            with suppress(Unauthenticated):
                self._recognize(req, self._authenticator)
        else:
            self._recognize(req, self._authenticator)
        if req.path.startswith(_ADMIN) and not req.context.identity.allows(ADMIN):
            raise AccessDenied("this needs graviton:admin")

    def _recognize(self, req: falcon.Request, authenticator: Authenticator) -> None:
        """By a token, or by the cookie of a browser that is signed in."""
        bearer = _bearer(req)
        cookie = self._browsers.cookie(req) if self._browsers is not None and bearer is None else None
        if self._browsers is None or cookie is None:
            req.context.identity = authenticator.authenticate(bearer)
        elif not (
            req.path == _SESSION and req.method == "POST"
        ):  # signing in takes no heed of another session
            req.context.signed_in = self._browsers.check(req, cookie)
            req.context.identity = req.context.signed_in.identity

    def _refuse_pages(self, req: falcon.Request) -> None:
        """Where nobody shows who they are, a page in somebody's browser must not act for them."""
        if self._guard is not None:
            self._guard.principal(gateway_request(req))
        origin = req.get_header("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != (req.get_header("Host") or "").lower():
            raise AccessDenied("pages of other sites are not served")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        resp.set_header("X-Content-Type-Options", "nosniff")
        if req.path.startswith(_API):
            resp.set_header("Content-Security-Policy", _HARMLESS)
            resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
        seconds = time.perf_counter() - req.context.started
        status = resp.status_code
        failed = resp.context.error_class if status >= 500 else None
        operation = _operation(req) if resource is not None else _OTHER
        self._tallies.request(operation, seconds, failed)
        if log.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {
                "method": req.method, "path": req.path, "status": status, "seconds": round(seconds, 6),
                "caller": getattr(getattr(req.context, "identity", None), "name", ""),
                "remote": req.env.get("REMOTE_ADDR", ""), "request_id": request_id.get(),
            }  # fmt: skip
            log.info("%s %s %d", req.method, req.path, status, extra={"fields": fields})


def _operation(req: falcon.Request) -> str:
    """Few: the route without its parameters."""
    route = (req.uri_template or _OTHER).removeprefix("/api/v1/").removeprefix("/")
    parts = [part for part in route.split("/") if not part.startswith("{")]
    method = req.method.lower() if req.method in falcon.COMBINED_METHODS else _OTHER
    return f"{method} {'/'.join(parts)}"


def _bearer(req: falcon.Request) -> str | None:
    value = req.auth
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("the credentials are of a kind that is not taken here: send a Bearer token")
    return token.strip()
