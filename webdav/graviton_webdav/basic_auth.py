"""Basic authentication (RFC 7617) against a users file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import NamedTuple

from graviton_webdav.faults import Refused
from graviton_webdav.messages import Request
from graviton_webdav.passwords import decoy_hash, read_users, verify_password
from gravitonfs.errors import GravitonError, Invalid

log = logging.getLogger("graviton.webdav")

REMEMBERED = 60.0
"""Seconds since its last use for which a password that was verified is not verified again."""
_REMEMBERED_MAX = 1024
_PARALLEL_CHECKS = 2
_HEADER_MAX = 4096


class _Stamp(NamedTuple):
    mtime_ns: int
    size: int
    inode: int


class UsersGuard:
    """Basic authentication. Thread-safe.

    ``_lock`` guards the users and the verified passwords; ``_checks`` bounds how many password
    checks (0.1 s of CPU and 64 MiB each) run at once.
    """

    def __init__(self, users_file: Path, realm: str) -> None:
        self._path = users_file
        self._challenge = f'Basic realm="{_quoted(realm)}", charset="UTF-8"'
        self._lock = threading.Lock()
        self._checks = threading.BoundedSemaphore(_PARALLEL_CHECKS)
        self._key = secrets.token_bytes(32)
        self._decoy = decoy_hash()
        self._verified: dict[bytes, tuple[str, float]] = {}
        self._stamp = self._stat()
        self._users = read_users(users_file)
        if not self._users:
            raise Invalid(f"{users_file} has no users: add one with graviton passwd {users_file} USER")

    def principal(self, request: Request) -> str:
        value = request.headers.get(b"Authorization")
        if value is None:
            raise self._refusal("authentication is required")
        if len(value) > _HEADER_MAX:
            raise self._refusal("the credentials are too long")
        users = self._current()
        token = hashlib.blake2b(value, key=self._key, digest_size=32).digest()
        now = time.monotonic()
        known = self._verified.get(token)
        if known is not None and known[1] > now:
            user = known[0]
        else:
            user, password = _credentials(value) or ("", "")
            if not user or not self._verify(users, user, password):
                raise self._refusal("the user or the password is wrong")
        self._remember(users, token, user, now + REMEMBERED)
        return user

    def _refusal(self, message: str) -> Refused:
        return Refused(401, message, headers=[("WWW-Authenticate", self._challenge)])

    def _verify(self, users: dict[str, str], user: str, password: str) -> bool:
        with self._checks:
            stored = users.get(user)
            good = verify_password(self._decoy if stored is None else stored, password)
        return good and stored is not None

    def _remember(self, users: dict[str, str], token: bytes, user: str, until: float) -> None:
        """A keyed hash of the header; nothing where the users have changed meanwhile."""
        with self._lock:
            if users is self._users:
                if len(self._verified) >= _REMEMBERED_MAX and token not in self._verified:
                    self._verified.clear()
                self._verified[token] = user, until

    def _current(self) -> dict[str, str]:
        """The users, read again when the file has changed; what was verified is then forgotten."""
        stamp = self._stat()
        if stamp == self._stamp:
            return self._users
        with self._lock:
            if stamp != self._stamp:
                self._verified = {}
                self._stamp = stamp
                try:
                    self._users = read_users(self._path)
                except GravitonError as error:
                    log.error("nobody is let in until the users file is mended: %s", error)
                    self._users = {}
            return self._users

    def _stat(self) -> _Stamp | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return _Stamp(found.st_mtime_ns, found.st_size, found.st_ino)


def _credentials(value: bytes) -> tuple[str, str] | None:
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


def _quoted(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and ord(c) < 128).replace("\\", "").replace('"', "'")
