"""An issuer of JSON web tokens with a JWKS on loopback, whose keys can be rotated."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://auth.example.com", "graviton-api"


class Issuer:
    """A context manager; ``asked`` counts how often the keys were fetched."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[Any, str]] = {}
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = json.dumps(issuer.jwks()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/.well-known/jwks.json"

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, *kids: str, algorithm: str = "RS256") -> None:
        """From now on these keys, made where they are new, and no others."""
        for kid in kids:
            if kid not in self._keys:
                self._keys[kid] = (_private(algorithm), algorithm)
        self._keys = {kid: self._keys[kid] for kid in kids}

    def key(self, kid: str) -> tuple[Any, str]:
        return self._keys[kid]

    def jwks(self) -> dict[str, Any]:
        found = []
        for kid, (key, algorithm) in self._keys.items():
            kind = jwt.get_algorithm_by_name(algorithm)
            public: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))  # type: ignore[attr-defined]
            found.append(public | {"kid": kid, "use": "sig", "alg": algorithm})
        return {"keys": found}

    def token(self, kid: str, scope: str = "graviton:read graviton:write", **claims: Any) -> str:
        key, algorithm = self._keys[kid]
        return signed(key, algorithm, kid, scope, **claims)


def signed(key: Any, algorithm: str, kid: str, scope: str, **claims: Any) -> str:
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "iat": now, "exp": now + 600, "scope": scope}
    wanted = {name: value for name, value in (found | claims).items() if value is not None}
    return jwt.encode(wanted, key, algorithm, headers={"kid": kid})


def _private(algorithm: str) -> Any:
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
