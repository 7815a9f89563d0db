"""From the gateway's connections to WSGI and back, without copying bodies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from typing_extensions import Buffer

from graviton_webdav.bodies import Body
from graviton_webdav.http_connection import DavHTTPRequest
from graviton_webdav.messages import Response

BODY: Final = "graviton.body"
"""In the WSGI environment: the request's ``Body``, which reads in bounded pieces and notices early ends."""
REQUEST: Final = "graviton.request"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_UNPREFIXED: Final = (b"Content-Type", b"Content-Length")


class NoInput:
    """Stands for ``wsgi.input``: bodies are read through ``BODY`` alone."""

    def read(self, size: int = -1) -> bytes:
        return b""


class Bridge:
    """An ``Application`` for ``DavHTTPServer``."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, http: DavHTTPRequest, body: Body) -> Response:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started[:] = (int(status[:3]), headers)

        result = self._app(_environ(http, body), start_response)
        status, headers = started
        length: int | None = None
        kept = []
        for name, value in headers:
            if name.lower() == "content-length":
                length = int(value)
            else:
                kept.append((name, value))
        if isinstance(result, list):
            whole = b"".join(result)
            return Response(status, kept, whole, length=length if http.method == b"HEAD" else None)
        stream: Iterator[Sequence[Buffer]] = iter(result)  # type: ignore[arg-type]  # see ``Outgoing``
        return Response(status, kept, stream=stream, length=length)


def _environ(http: DavHTTPRequest, body: Body) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": http.method.decode("latin-1"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(http.path).decode("latin-1"),
        "QUERY_STRING": http.qs.decode("latin-1"),
        "RAW_URI": http.uri.decode("latin-1"),
        "SERVER_PROTOCOL": http.request_protocol.decode("latin-1"),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "",
        "REMOTE_ADDR": http.conn.remote_addr or "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": http.scheme.decode("latin-1"),
        "wsgi.input": NoInput(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        BODY: body,
        REQUEST: http,
    }
    for name, value in http.inheaders.items():
        key = name.decode("latin-1").upper().replace("-", "_")
        environ[key if name in _UNPREFIXED else f"HTTP_{key}"] = value.decode("latin-1")
    return environ
