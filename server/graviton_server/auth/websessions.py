"""Signed-in browsers. A token of ours opens a session: a random cookie, kept as a hash beside the tokens, so
that every daemon of the store knows it and a restart ends none. It lasts for a bounded time, and no longer
than its token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

import msgspec

from graviton_server.auth.apptokens import AppTokens, Attached, digest_of, is_well_formed, record_of
from graviton_server.auth.identity import Identity
from graviton_server.auth.remembered import Remembered
from gravitonfs.errors import Unauthenticated
from gravitonfs.ports.ops import SetRecord

SPACE: Final = "web-sessions"
_FORM: Final = re.compile(r"([0-9a-f]{24})\.([0-9A-Za-z_-]{43})")
_EACH: Final = 32
"""Sessions of one token; further ones end the oldest."""


class Row(msgspec.Struct, frozen=True):
    """As it is kept. ``token``: the id of the token that opened it; times in seconds since the epoch."""

    token: str
    digest: bytes
    created: float
    expires: float


class SignedIn(NamedTuple):
    """``proof``: what a page of ours sends with every change, and no other page can know."""

    identity: Identity
    proof: str
    expires: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Row).decode


class WebSessions:
    """Thread-safe. A session that another daemon ended is believed for as long as a revoked token is."""

    def __init__(
        self, volume: Callable[[], AbstractContextManager[Attached]], tokens: AppTokens, lasts: float
    ) -> None:
        """``volume``: whose records keep the sessions, as ``AppTokens`` has it; ``lasts``: seconds."""
        self._attached = volume
        self._tokens = tokens
        self._lasts = lasts
        self._remembered: Remembered[str, Row | None] = Remembered()

    def begin(self, token: str) -> tuple[str, SignedIn]:
        """The cookie, which is kept nowhere. Durable. Unauthenticated."""
        if not is_well_formed(token):
            raise Unauthenticated(
                "this is no token: it begins with grv_, as 'graviton token create' prints it"
            )
        self._tokens.verify(token)
        opener = token.split("_")[1]
        number, secret, now = secrets.token_hex(12), secrets.token_urlsafe(32), time.time()
        row = Row(opener, digest_of(secret), now, now + self._lasts)
        with self._attached() as volume:
            old = [(key, _decode(value)) for key, value in volume.namespace.records(SPACE)]
            gone = [key for key, other in old if other.expires < now]
            same = sorted(
                (other.created, key) for key, other in old if other.token == opener and key not in gone
            )
            gone += [key for _, key in same[: max(0, len(same) + 1 - _EACH)]]
            ended = [SetRecord(SPACE, key, None) for key in gone]
            volume.submit(*ended, SetRecord(SPACE, number.encode(), _encode(row), b""), durable=True)
        cookie = f"{number}.{secret}"
        return cookie, self.verify(cookie)

    def verify(self, cookie: str) -> SignedIn:
        """Raises Unauthenticated: ended, over its time, or its token revoked."""
        match = _FORM.fullmatch(cookie)
        row = self._remembered.get(match[1], self._read) if match is not None else None
        secret = match[2] if match is not None else ""
        if row is None or not hmac.compare_digest(digest_of(secret), row.digest) or row.expires < time.time():
            raise Unauthenticated("the session has ended: sign in again")
        token = self._tokens.known(row.token)
        expires = row.expires if token.expires is None else min(row.expires, token.expires)
        proof = hashlib.blake2b(secret.encode(), digest_size=16, person=b"graviton-proof").hexdigest()
        return SignedIn(token.identity(), proof, expires)

    def end(self, cookie: str) -> None:
        """Durable; nothing where it has ended."""
        match = _FORM.fullmatch(cookie)
        if match is None:
            return
        with self._attached() as volume:
            volume.submit(SetRecord(SPACE, match[1].encode(), None), durable=True)
        self._remembered.forget(match[1])

    def _read(self, number: str) -> Row | None:
        found = record_of(self._attached, SPACE, number)
        return None if found is None else _decode(found)
