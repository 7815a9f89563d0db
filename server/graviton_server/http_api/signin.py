"""/api/v1/session: who is asking, and what they may do; signing in with a token, and out."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import falcon
import msgspec

from graviton_server.auth.identity import READ, SCOPES, WRITE, Identity
from graviton_server.auth.websessions import SignedIn
from graviton_server.http_api.browsers import Browsers, require_own_page
from graviton_server.http_api.context import Api, answer, document
from graviton_webdav.faults import Refused
from gravitonfs.errors import Throttled, Unauthenticated

_TRIES: Final = 10
_EVERY: Final = 6.0
"""Seconds after which another failed try of an address is forgiven."""
_ADDRESSES: Final = 4096


class Tries:
    """Failed ones, by address. Thread-safe; ``_lock`` guards the table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[float, float]] = {}

    def check(self, address: str) -> None:
        """Throttled."""
        left = self._count(address) - _TRIES + 1
        if left > 0:
            raise Throttled("too many failed tries to sign in from this address: wait", left * _EVERY)

    def failed(self, address: str) -> None:
        count = self._count(address) + 1
        with self._lock:
            if len(self._failed) >= _ADDRESSES and address not in self._failed:
                self._failed.pop(next(iter(self._failed)))
            self._failed[address] = count, time.monotonic()

    def _count(self, address: str) -> float:
        count, at = self._failed.get(address, (0.0, 0.0))
        return max(0.0, count - (time.monotonic() - at) / _EVERY)


class _SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """``user``: whatever a browser's password store keeps the token under; the token alone is judged."""

    token: str
    user: str = ""


class Session:
    def __init__(self, api: Api, browsers: Browsers | None) -> None:
        """``browsers`` None: authentication is off."""
        self._api = api
        self._browsers = browsers
        self._tries = Tries()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        identity: Identity | None = getattr(req.context, "identity", None)
        answer(resp, self._told(identity, getattr(req.context, "signed_in", None)))
        resp.set_header("Cache-Control", "no-store")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = document(req, self._api, _SignIn)
        browsers = self._ours()
        require_own_page(req)
        address = req.env.get("REMOTE_ADDR", "")
        self._tries.check(address)
        try:
            cookie, signed_in = browsers.sessions.begin(wanted.token.strip())
        except Unauthenticated:
            self._tries.failed(address)
            raise
        browsers.hand_out(req, resp, cookie, max(1, round(signed_in.expires - time.time())))
        answer(resp, self._told(signed_in.identity, signed_in))
        resp.set_header("Cache-Control", "no-store")

    def on_delete(self, req: falcon.Request, resp: falcon.Response) -> None:
        browsers = self._ours()
        cookie = browsers.cookie(req)
        if cookie is not None and getattr(req.context, "signed_in", None) is not None:
            browsers.sessions.end(cookie)
        browsers.take_back(resp)
        resp.status = falcon.HTTP_204

    def _ours(self) -> Browsers:
        if self._browsers is None:
            raise Refused(409, "authentication is off: everybody is let in, and nobody signs in")
        return self._browsers

    def _told(self, identity: Identity | None, signed_in: SignedIn | None) -> dict[str, Any]:
        names = self._api.volume_names() if identity is not None else []
        found = identity or Identity("", {})
        return {
            "authentication": self._browsers is not None,
            "signed_in": identity is not None,
            "name": found.name,
            "admin": found.allows(SCOPES[-1]),
            "volumes": [
                {"name": name, "write": found.allows(WRITE, name)}
                for name in names
                if found.allows(READ, name)
            ],
            "proof": None if signed_in is None else signed_in.proof,
            "expires": None if signed_in is None else signed_in.expires,
        }
