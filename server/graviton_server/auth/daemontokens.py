"""App tokens at a gateway, which keeps none: the daemon behind it says whose they are."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from graviton_server.auth.apptokens import is_well_formed
from graviton_server.auth.identity import READ, WRITE, Identity
from graviton_server.auth.remembered import Remembered
from gravitonfs.client.administration import Allowance
from gravitonfs.errors import Unauthenticated

Ask = Callable[[str], Allowance]
"""What a token allows, from the daemon. Unauthenticated; Unavailable."""


class DaemonTokens:
    """For one volume. Thread-safe. What is remembered are keyed hashes, no tokens."""

    def __init__(self, volume: str, ask: Ask) -> None:
        self._volume = volume
        self._ask = ask
        self._key = secrets.token_bytes(32)
        self._remembered: Remembered[bytes, Identity] = Remembered()

    def verify(self, text: str) -> Identity:
        """Raises Unauthenticated, and what a daemon that is away is told by."""
        if not is_well_formed(text):
            raise Unauthenticated("the token is unknown")
        key = hashlib.blake2b(text.encode(), key=self._key, digest_size=32).digest()
        return self._remembered.get(key, lambda _: self._asked(text))

    def _asked(self, text: str) -> Identity:
        allowed = self._ask(text)
        if not allowed.judged:  # it lets everybody in, which this gateway is not to do
            raise Unauthenticated("the daemon judges no tokens: authentication is off there")
        scopes = [scope for scope, granted in ((READ, allowed.read), (WRITE, allowed.write)) if granted]
        return Identity(allowed.name, dict.fromkeys(scopes, frozenset((self._volume,))))
