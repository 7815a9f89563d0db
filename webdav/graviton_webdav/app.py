"""The WebDAV server: what ``graviton up`` and ``graviton webdav`` start."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from graviton_webdav.auth import Guard, guard_for
from graviton_webdav.gateway import Counters, Gateway
from graviton_webdav.http_server import IDLE_TIMEOUT, DavHTTPServer, bind_problem
from graviton_webdav.live_properties import Quota
from graviton_webdav.tls import TlsAdapter, TlsFiles
from graviton_webdav.traffic import Traffic, Unhindered
from graviton_webdav.upload import Owner
from gravitonfs.content.pool import Attached
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Busy, Invalid

DEFAULT_PORT = 8081
_STOP_TIMEOUT = 10.0


class WebDavServer:
    """One volume's root at ``/``. ``start`` and ``stop`` are for one thread; ``_state`` guards them.

    ``volume``: attached, and nobody else's business meanwhile; or who attaches it for each request.
    ``space`` tells the bytes that are still free, where somebody knows. Files that come in belong to
    ``owner``, by default to the user who runs this process.
    """

    def __init__(
        self,
        volume: Volume | Callable[[], AbstractContextManager[Attached]],
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        users_file: Path | None = None,
        realm: str = "Graviton",
        owner: Owner | None = None,
        space: Callable[[], int | None] | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
        guard: Guard | None = None,
        correlation_header: str = "X-Request-ID",
        timeout: float = IDLE_TIMEOUT,
        max_file_size: int | None = None,
        traffic: Traffic | None = None,
        read_only: bool = False,
    ) -> None:
        """Raises Invalid for an address open to others without a users file, NotFound without that file.

        ``guard``: in place of the users file, whatever the address. ``timeout``: seconds that a connection
        may keep silent, between requests or inside one.
        """
        if not 0 <= port <= 65535:
            raise Invalid(f"{port} is no port; expected 0 to 65535")
        if (certificate is None) != (private_key is None):
            raise Invalid("TLS needs a certificate and a private key")
        if isinstance(volume, Volume):
            read_only = read_only or volume.namespace.read_only
            held = nullcontext(Attached(volume))
            attached: Callable[[], AbstractContextManager[Attached]] = lambda: held  # noqa: E731
        else:
            attached = volume
        self._host = host
        self._port = port
        self._space = space
        guard = guard or guard_for(host, users_file, realm)
        owner = owner or Owner(os.getuid(), os.getgid())
        self._gateway = Gateway(
            attached,
            guard,
            owner,
            self._quota,
            correlation_header,
            max_file_size,
            traffic or Unhindered(),
            read_only=read_only,
        )
        self._timeout = timeout
        self._tls = None if certificate is None or private_key is None else (certificate, private_key)
        self._state = threading.Lock()
        self._server: DavHTTPServer | None = None
        self._bound: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port as bound; only between start and stop."""
        if self._bound is None:
            raise Invalid("the WebDAV server is not running")
        return self._bound

    @property
    def url(self) -> str:
        host, port = self.address
        scheme = "https" if self._tls else "http"
        return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"

    def start(self) -> None:
        """Bind and serve from threads of its own. Raises Busy for a port in use, Invalid otherwise."""
        with self._state:
            if self._server is not None:
                raise Invalid("the WebDAV server is already running")
            server = DavHTTPServer((self._host, self._port), self._gateway, timeout=self._timeout)
            if self._tls is not None:
                server.ssl_adapter = TlsAdapter(TlsFiles(*self._tls))
            try:
                self._bound = server.open()
            except OSError as error:
                raise Busy(bind_problem(error, self._host, self._port)) from None
            self._server = server

    def stop(self, timeout: float = _STOP_TIMEOUT) -> None:
        """Answer what has begun, for at most ``timeout`` seconds, and close. Idempotent."""
        with self._state:
            server, self._server, self._bound = self._server, None, None
        if server is not None:
            server.shut(timeout)

    def counters(self) -> dict[str, Counters]:
        """By method."""
        return self._gateway.counters()

    def latencies(self) -> dict[str, list[int]]:
        """By method, see ``Gateway``."""
        return self._gateway.latencies()

    def errors(self) -> dict[str, int]:
        """By kind, see ``Gateway``."""
        return self._gateway.errors()

    def transfers(self) -> dict[str, int]:
        """See ``Gateway``."""
        return self._gateway.transfers()

    @property
    def busy(self) -> int:
        """Requests that have begun and are not answered yet."""
        return self._gateway.busy

    def _quota(self, volume: Volume, directory: Ino) -> Quota:
        """Of what comes into a collection: what its quotas leave, where it has any."""
        available = self._space() if self._space is not None else None
        room = volume.namespace.room(directory)
        if room is None:
            return Quota(available, volume.namespace.usage().logical_bytes)
        if room.free_bytes is not None:
            available = room.free_bytes if available is None else min(available, room.free_bytes)
        return Quota(available, room.used_bytes)

    def __enter__(self) -> WebDavServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
