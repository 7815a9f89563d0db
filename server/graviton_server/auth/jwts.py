"""JSON web tokens: signature, issuer, audience, expiry, and what their scopes allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jwt

from graviton_server.auth.identity import Identity, grants_of
from graviton_server.auth.jwks import Jwks
from gravitonfs.errors import Unauthenticated

LEEWAY: Final = 30.0
"""Seconds that clocks may differ."""
_REQUIRED: Final = ["exp", "iss", "aud"]
VOLUMES: Final = "graviton_volumes"
"""A claim with names of volumes that bounds all scopes."""


class JwtVerifier:
    def __init__(self, issuer: str, audience: str, keys: Jwks, algorithms: Sequence[str]) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._algorithms = list(algorithms)

    def verify(self, token: str) -> Identity:
        """Raises Unauthenticated, Unavailable."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise Unauthenticated(f"the token's algorithm is not one of {', '.join(self._algorithms)}")
            key = self._keys.key(str(header.get("kid", "")))
            if key is None:
                raise Unauthenticated("the token is signed with a key that its issuer does not have")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not accepted: {error}") from None
        except (ValueError, TypeError):
            raise Unauthenticated("the token cannot be read") from None
        return Identity(str(claims.get("sub") or claims.get("client_id") or "jwt"), _grants(claims))


def _grants(claims: dict[str, Any]) -> dict[str, frozenset[str] | None]:
    scopes: list[str] = []
    for name in ("scope", "scp", "scopes"):
        value = claims.get(name)
        if isinstance(value, str):
            scopes += value.split()
        elif isinstance(value, list):
            scopes += [one for one in value if isinstance(one, str)]
    volumes = claims.get(VOLUMES)
    if isinstance(volumes, str):
        volumes = volumes.split()
    if volumes is not None:
        volumes = [one for one in volumes if isinstance(one, str)] if isinstance(volumes, list) else []
    return grants_of(scopes, volumes)
