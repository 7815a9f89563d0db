"""App tokens at a gateway, which keeps none: the daemon behind it says whose they are."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from graviton_server.auth.apptokens import REMEMBERED, is_well_formed
from graviton_server.auth.identity import READ, WRITE, Identity
from gravitonfs.client.administration import Allowance
from gravitonfs.errors import Unauthenticated

_REMEMBERED_MAX: Final = 4096

Ask = Callable[[str], Allowance]
"""What a token allows, from the daemon. Unauthenticated; Unavailable."""


class DaemonTokens:
    """For one volume. Thread-safe; ``_lock`` guards what is remembered: keyed hashes, no tokens."""

    def __init__(self, volume: str, ask: Ask) -> None:
        self._volume = volume
        self._ask = ask
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._remembered: dict[bytes, tuple[float, Identity]] = {}

    def verify(self, text: str) -> Identity:
        """Raises Unauthenticated, and what a daemon that is away is told by."""
        if not is_well_formed(text):
            raise Unauthenticated("the token is unknown")
        asked = time.monotonic()
        key = hashlib.blake2b(text.encode(), key=self._key, digest_size=32).digest()
        known = self._remembered.get(key)
        if known is not None and known[0] > asked:
            return known[1]
        allowed = self._ask(text)
        if not allowed.judged:  # it lets everybody in, which this gateway is not to do
            raise Unauthenticated("the daemon judges no tokens: authentication is off there")
        scopes = [scope for scope, granted in ((READ, allowed.read), (WRITE, allowed.write)) if granted]
        identity = Identity(allowed.name, dict.fromkeys(scopes, frozenset((self._volume,))))
        with self._lock:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = asked + REMEMBERED, identity
        return identity
