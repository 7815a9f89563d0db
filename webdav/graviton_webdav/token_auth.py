"""Tokens as passwords: Basic or Bearer, judged by whoever judges tokens for the other front ends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Protocol

from graviton_webdav.auth import ANONYMOUS, Guard
from graviton_webdav.faults import Refused
from graviton_webdav.messages import Request
from gravitonfs.errors import GravitonError, Unauthenticated

_READING = frozenset(("GET", "HEAD", "OPTIONS", "PROPFIND"))
_APP_TOKEN = "grv_"
_LONGEST = 16 << 10


class Caller(Protocol):
    """Who a token belongs to."""

    @property
    def name(self) -> str: ...
    def allows(self, scope: str, volume: str) -> bool:
        """``scope``: read or write."""


class TokenGuard:
    """``users``: asked about Basic passwords that are no tokens, where there is a users file, too."""

    def __init__(
        self, authenticate: Callable[[str], Caller], volume: str, realm: str, users: Guard | None = None
    ) -> None:
        self._authenticate = authenticate
        self._volume = volume
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'
        self._users = users

    def principal(self, request: Request) -> str:
        token = _token(request.header(b"Authorization"))
        if self._users is not None and (token is None or not token.startswith(_APP_TOKEN)):
            scheme = (request.header(b"Authorization") or "basic").partition(" ")[0].lower()
            if scheme == "basic":
                return self._users.principal(request)
        try:
            caller = self._authenticate(token or "")
        except Unauthenticated as error:
            raise Refused(401, str(error), headers=[("WWW-Authenticate", self._challenge)]) from None
        except GravitonError as error:
            raise Refused(error.http_status, "nobody can be let in now: try again later") from None
        scope = "read" if request.method in _READING else "write"
        if not caller.allows(scope, self._volume):
            raise Refused(403, f"the token does not allow to {scope} this volume")
        return caller.name


class EverybodyGuard:
    """Whoever reaches the server. Only where an operator has said that it is meant."""

    def principal(self, request: Request) -> str:
        return ANONYMOUS


def _token(value: str | None) -> str | None:
    """From a Bearer token or a Basic password."""
    if value is None or len(value) > _LONGEST:
        return None
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    _, colon, password = decoded.partition(":")
    return password if colon else None
