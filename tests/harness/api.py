"""A small client of the HTTP API, on sockets of its own so that it can misbehave."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from blake3 import blake3


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self, status: int, kind: str) -> str:
        """The detail of a problem, which must be this one."""
        assert self.status == status, self
        assert self.headers["content-type"] == "application/problem+json", self
        found = self.json
        assert found["status"] == status
        assert found["type"] == f"urn:graviton:problem:{kind}"
        return str(found["detail"])


class Api:
    """One connection, opened anew when it was closed."""

    def __init__(self, url: str, *, token: str | None = None, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.token = token
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=60, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(self.host, self.port, timeout=60)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Underscores in the names of headers stand for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())

    def raw(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=60)

    def close(self) -> None:
        self._connection.close()


def blob_id(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}:{len(data)}"


def address_in(ready: str, name: str = "http") -> str:
    """An address in the line that says that everything answers."""
    return next(word.partition("=")[2] for word in ready.split() if word.startswith(f"{name}="))
