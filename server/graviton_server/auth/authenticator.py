"""The one place that judges tokens."""

from __future__ import annotations

from graviton_server.auth.apptokens import AppTokens, is_app_token
from graviton_server.auth.identity import Identity
from graviton_server.auth.jwks import Jwks
from graviton_server.auth.jwts import JwtVerifier
from graviton_server.config.sections import Auth
from gravitonfs.errors import Unauthenticated

_LONGEST = 16 << 10


class Authenticator:
    """Thread-safe."""

    def __init__(self, tokens: AppTokens | None, jwts: JwtVerifier | None = None) -> None:
        """``tokens`` None: app tokens are judged elsewhere, and not known here."""
        self._tokens = tokens
        self._jwts = jwts

    def authenticate(self, token: str | None) -> Identity:
        """Raises Unauthenticated; Unavailable where the issuer's keys cannot be had."""
        if not token:
            raise Unauthenticated("a token is needed: send Authorization: Bearer …")
        if len(token) > _LONGEST or not token.isascii():
            raise Unauthenticated("the token cannot be read")
        if self._tokens is not None and is_app_token(token):
            return self._tokens.verify(token)
        if self._jwts is None:
            raise Unauthenticated("the token is unknown")
        return self._jwts.verify(token)


def is_on(auth: Auth) -> bool:
    """Authentication is on where that is written, and wherever an issuer is named."""
    return auth.enabled if auth.enabled is not None else auth.jwt.jwks_url is not None


def authenticator(auth: Auth, tokens: AppTokens | None) -> Authenticator | None:
    """None where authentication is off. ``tokens``: see ``Authenticator``."""
    if not is_on(auth):
        return None
    jwt = auth.jwt
    if jwt.jwks_url is None or jwt.issuer is None or jwt.audience is None:
        return Authenticator(tokens)
    return Authenticator(tokens, JwtVerifier(jwt.issuer, jwt.audience, Jwks(jwt.jwks_url), jwt.algorithms))
