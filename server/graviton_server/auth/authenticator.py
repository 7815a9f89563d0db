"""The one place that judges tokens."""

from __future__ import annotations

from typing import Protocol

from graviton_server.auth.apptokens import is_app_token
from graviton_server.auth.identity import Identity
from graviton_server.auth.jwks import Jwks
from graviton_server.auth.jwts import JwtVerifier
from graviton_server.config.sections import Auth
from gravitonfs.errors import Unauthenticated

_LONGEST = 16 << 10


class Tokens(Protocol):
    """Knows app tokens, or asks who does."""

    def verify(self, text: str) -> Identity:
        """Raises Unauthenticated."""


class Authenticator:
    """Thread-safe."""

    def __init__(self, tokens: Tokens, jwts: JwtVerifier | None = None) -> None:
        self._tokens = tokens
        self._jwts = jwts

    def authenticate(self, token: str | None) -> Identity:
        """Raises Unauthenticated; Unavailable where the issuer's keys, or the daemon, cannot be had."""
        if not token:
            raise Unauthenticated("a token is needed: send Authorization: Bearer …")
        if len(token) > _LONGEST or not token.isascii():
            raise Unauthenticated("the token cannot be read")
        if is_app_token(token):
            return self._tokens.verify(token)
        if self._jwts is None:
            raise Unauthenticated("the token is unknown")
        return self._jwts.verify(token)


def is_on(auth: Auth) -> bool:
    """Authentication is on where that is written, and wherever an issuer is named."""
    return auth.enabled if auth.enabled is not None else auth.jwt.jwks_url is not None


def authenticator(auth: Auth, tokens: Tokens) -> Authenticator | None:
    """None where authentication is off."""
    if not is_on(auth):
        return None
    jwt = auth.jwt
    if jwt.jwks_url is None or jwt.issuer is None or jwt.audience is None:
        return Authenticator(tokens)
    return Authenticator(tokens, JwtVerifier(jwt.issuer, jwt.audience, Jwks(jwt.jwks_url), jwt.algorithms))
