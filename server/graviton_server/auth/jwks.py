"""The issuer's public keys: fetched when they are needed, kept for a while, followed when they rotate."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from typing import Any, Final

import jwt

from gravitonfs.errors import Unavailable

log = logging.getLogger("graviton.auth")

FRESH: Final = 300.0
"""Seconds for which fetched keys are used without asking again."""
STALE: Final = 24 * 3600.0
"""Seconds for which they are used while the issuer does not answer."""
AGAIN: Final = 5.0
"""An unknown key makes us ask at most this often: anybody can send one."""
PATIENCE: Final = 30.0
"""Known keys that are no longer fresh: how often is asked while the issuer does not answer."""
_TIMEOUT: Final = 5.0
_LIMIT: Final = 1 << 20


class Jwks:
    """Thread-safe. ``_lock`` guards all fields and is held while keys are fetched: one asks for all."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -STALE
        self._asked = -PATIENCE

    def key(self, kid: str) -> jwt.PyJWK | None:
        """By id; a set with one key without an id answers to any. Unavailable where no keys can be had."""
        with self._lock:
            now = time.monotonic()
            found = self._find(kid)
            old = now - self._fetched > FRESH
            pause = AGAIN if found is None else PATIENCE
            if (found is None or old) and now - self._asked >= pause:
                self._asked = now
                self._fetch(now)
                found = self._find(kid)
            if not self._keys:
                raise Unavailable("the keys of the token's issuer cannot be had: try again later")
            return found

    def _find(self, kid: str) -> jwt.PyJWK | None:
        return self._keys.get(kid) or (self._keys.get("") if len(self._keys) == 1 else None)

    def _fetch(self, now: float) -> None:
        try:
            keys = _parsed(self._load())
        except (OSError, ValueError, jwt.PyJWTError) as error:
            log.warning("the keys at %s cannot be read: %s", self._url, error)
            if now - self._fetched > STALE:
                self._keys = {}
            return
        self._keys, self._fetched = keys, now

    def _load(self) -> bytes:
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            body: bytes = answer.read(_LIMIT + 1)
        if len(body) > _LIMIT:
            raise ValueError(f"they are more than {_LIMIT} bytes")
        return body


def _parsed(body: bytes) -> dict[str, jwt.PyJWK]:
    document: Any = json.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("there is no list of keys")
    found: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            found[str(entry.get("kid", ""))] = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # a kind of key that is not known here
    if not found:
        raise ValueError("there is no key that can be used")
    return found
