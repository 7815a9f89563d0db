"""The HTTP server: what ``graviton serve`` and ``graviton up --http`` start."""

from __future__ import annotations

import threading

from graviton_server.auth.authenticator import Authenticator
from graviton_server.http_api.app import Backstage, make_app
from graviton_server.http_api.bridge import Bridge
from graviton_server.http_api.context import Api
from graviton_webdav.auth import is_loopback
from graviton_webdav.http_server import DavHTTPServer, bind_problem
from graviton_webdav.tls import TlsAdapter, TlsFiles
from gravitonfs.errors import Busy, Invalid

_STOP_TIMEOUT = 10.0


class HttpServer:
    """``start`` and ``stop`` are for one thread; ``_state`` guards them."""

    def __init__(self, api: Api, backstage: Backstage, authenticator: Authenticator | None) -> None:
        """Raises Invalid for certificates that cannot be used."""
        settings = api.settings
        self._settings = settings
        self._jobs = backstage.jobs
        app = make_app(api, backstage, authenticator, local=is_loopback(settings.host))
        self._bridge = Bridge(app)
        self._tls: TlsFiles | None = None
        if settings.certificate is not None and settings.private_key is not None:
            self._tls = TlsFiles(settings.certificate, settings.private_key, settings.client_authorities)
        self._state = threading.Lock()
        self._server: DavHTTPServer | None = None
        self._bound: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """As bound; only between start and stop."""
        if self._bound is None:
            raise Invalid("the HTTP server is not running")
        return self._bound

    @property
    def url(self) -> str:
        host, port = self.address
        scheme = "https" if self._tls is not None else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def start(self) -> None:
        """Bind and serve from threads of its own. Raises Busy for a port in use."""
        settings = self._settings
        with self._state:
            if self._server is not None:
                raise Invalid("the HTTP server is already running")
            server = DavHTTPServer(
                (settings.host, settings.port), self._bridge, name="http", timeout=settings.request_timeout
            )
            if self._tls is not None:
                server.ssl_adapter = TlsAdapter(self._tls)
            try:
                self._bound = server.open()
            except OSError as error:
                raise Busy(bind_problem(error, settings.host, settings.port)) from None
            self._server = server

    def stop(self, timeout: float = _STOP_TIMEOUT) -> None:
        """Answer what has begun, for at most ``timeout`` seconds, and close. Idempotent."""
        with self._state:
            server, self._server, self._bound = self._server, None, None
        if server is not None:
            server.shut(timeout)
            self._jobs.close(timeout)
