"""Tokens of our own, for programs and for WebDAV passwords: random, and kept as hashes in the namespace.

A token is ``grv_<id>_<secret>``. The secret has 256 random bits, so one round of BLAKE2 is as good as a slow
hash and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from graviton_server.auth.identity import PREFIX, SCOPES, Identity, grants_of
from graviton_server.auth.remembered import Remembered
from gravitonfs.errors import Exists, Invalid, NotFound, Unauthenticated
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Op, Result, SetRecord

SPACE: Final = "tokens"
_FORM: Final = re.compile(r"grv_([0-9a-z]{12})_([0-9A-Za-z_-]{43})")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class AppToken(msgspec.Struct, frozen=True):
    """As it is kept. ``volumes`` None: all; times in seconds since the epoch, ``expires`` None: never."""

    id: str
    name: str
    digest: bytes
    scopes: list[str]
    volumes: list[str] | None
    created: float
    expires: float | None = None

    def identity(self) -> Identity:
        scopes = [PREFIX + scope for scope in self.scopes]
        return Identity(self.name, grants_of(scopes, self.volumes))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AppToken).decode


class Attached(Protocol):
    """A volume whose records keep the tokens."""

    @property
    def namespace(self) -> Namespace: ...
    def submit(self, *ops: Op, durable: bool = False) -> tuple[Result, ...]: ...


class AppTokens:
    """Thread-safe."""

    def __init__(self, volume: Callable[[], AbstractContextManager[Attached]]) -> None:
        """``volume`` is attached for each look, and let go after it."""
        self._attached = volume
        self._remembered: Remembered[str, AppToken | None] = Remembered()

    def create(
        self, name: str, scopes: Sequence[str], volumes: Sequence[str] | None, lasts: float | None
    ) -> tuple[str, AppToken]:
        """The token itself, which is kept nowhere, and what is kept of it. Durable. Exists, Invalid."""
        if not _NAME.fullmatch(name):
            raise Invalid("a token's name has 1 to 100 characters")
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise Invalid(f"a token's scopes are some of {', '.join(SCOPES)}")
        if any(token.name == name for token in self.all()):
            raise Exists(f"there is a token {name!r} already: revoke it, or choose another name")
        number = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        now = time.time()
        token = AppToken(
            number, name, digest_of(secret), list(scopes), None if volumes is None else list(volumes),
            now, None if lasts is None else now + lasts,
        )  # fmt: skip
        with self._attached() as volume:
            volume.submit(SetRecord(SPACE, number.encode(), _encode(token), b""), durable=True)
        return f"grv_{number}_{secret}", token

    def all(self) -> list[AppToken]:
        with self._attached() as volume:
            found = [_decode(value) for _, value in volume.namespace.records(SPACE)]
        return sorted(found, key=lambda token: token.created)

    def revoke(self, which: str) -> AppToken:
        """By id or name. Durable. NotFound."""
        for token in self.all():
            if which in (token.id, token.name):
                with self._attached() as volume:
                    volume.submit(SetRecord(SPACE, token.id.encode(), None), durable=True)
                self._remembered.forget(token.id)
                return token
        raise NotFound(f"there is no token {which!r}: 'graviton token list' names them")

    def verify(self, text: str) -> Identity:
        """Raises Unauthenticated."""
        match = _FORM.fullmatch(text)
        token = self._find(match[1]) if match is not None else None
        digest = digest_of(match[2] if match is not None else "")
        if token is None or not hmac.compare_digest(digest, token.digest):
            raise Unauthenticated("the token is unknown, or has been revoked")
        return _unexpired(token).identity()

    def known(self, number: str) -> AppToken:
        """By its id, for whoever has shown its secret before. Unauthenticated."""
        token = self._find(number)
        if token is None:
            raise Unauthenticated("the token has been revoked")
        return _unexpired(token)

    def _find(self, number: str) -> AppToken | None:
        return self._remembered.get(number, self._read)

    def _read(self, number: str) -> AppToken | None:
        found = record_of(self._attached, SPACE, number)
        return None if found is None else _decode(found)


def record_of(
    volume: Callable[[], AbstractContextManager[Attached]], space: str, number: str
) -> bytes | None:
    key = number.encode()
    with volume() as attached:
        return dict(attached.namespace.records(space, key)).get(key)


def is_app_token(text: str) -> bool:
    return text.startswith("grv_")


def is_well_formed(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def _unexpired(token: AppToken) -> AppToken:
    if token.expires is not None and token.expires < time.time():
        raise Unauthenticated("the token has expired")
    return token


def digest_of(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(), digest_size=32).digest()
