"""Browsers that are signed in: the cookie, and what shows that a request is made by a page of ours.

A cookie goes along with whatever asks for it. So a change needs the ``Origin`` that the browser itself states
and the session's proof in a header, which a page of another origin can neither read nor send.
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

import falcon

from graviton_server.auth.websessions import SignedIn, WebSessions
from graviton_server.http_api.context import READING
from gravitonfs.errors import AccessDenied

PROOF: Final = "X-Graviton-Proof"
_SECURE: Final = "__Host-"


class Browsers:
    """``name``: of the cookie; ports of one host share cookies, so each store has its own."""

    def __init__(self, sessions: WebSessions, name: str) -> None:
        self.sessions = sessions
        self._name = name

    def cookie(self, req: falcon.Request) -> str | None:
        for name in (_SECURE + self._name, self._name):
            values = req.get_cookie_values(name)
            if values:
                return values[0]
        return None

    def check(self, req: falcon.Request, cookie: str) -> SignedIn:
        """Unauthenticated; AccessDenied where a page of another origin asks."""
        if req.get_header("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise AccessDenied("pages of other sites are not served")
        found = self.sessions.verify(cookie)
        if req.method not in READING:
            require_own_page(req)
            if not hmac.compare_digest((req.get_header(PROOF) or "").encode(), found.proof.encode()):
                raise AccessDenied(f"a change by a signed-in browser needs {PROOF}: reload the page")
        return found

    def hand_out(self, req: falcon.Request, resp: falcon.Response, cookie: str, seconds: int) -> None:
        secure = is_encrypted(req)
        name = _SECURE + self._name if secure else self._name
        resp.set_cookie(
            name, cookie, max_age=seconds, path="/", secure=secure, http_only=True, same_site="Strict"
        )

    def take_back(self, resp: falcon.Response) -> None:
        for name, secure in ((_SECURE + self._name, True), (self._name, False)):
            resp.set_cookie(name, "", max_age=0, path="/", secure=secure, http_only=True, same_site="Strict")


def require_own_page(req: falcon.Request) -> None:
    """Browsers state the origin with every change; what states none is no page of ours."""
    origin = req.get_header("Origin")
    if origin is None or urlsplit(origin).netloc.lower() != (req.get_header("Host") or "").lower():
        raise AccessDenied("pages of other sites are not served: the Origin of a change is this server's")


def is_encrypted(req: falcon.Request) -> bool:
    """TLS, ours or that of a proxy in front: the browser states the scheme that it sees."""
    return req.scheme == "https" or (req.get_header("Origin") or "").lower().startswith("https://")
