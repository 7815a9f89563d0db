"""TLS for a server: certificates are read again when their files change; client certificates where wanted."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from cheroot.errors import FatalSSLAlert
from cheroot.ssl import Adapter

from graviton_webdav.streams import streams
from gravitonfs.errors import GravitonError, Invalid

log = logging.getLogger("graviton.tls")

_LOOK_EVERY = 1.0


class TlsFiles:
    """A context made from files, and made anew when one of them changes.

    A change that cannot be used (a key that does not fit yet, half a file) is logged, and the context from
    before stays. ``_lock`` guards all fields.
    """

    def __init__(self, certificate: Path, private_key: Path, client_authorities: Path | None = None) -> None:
        """Raises Invalid for files that cannot be used."""
        self._files = [path for path in (certificate, private_key, client_authorities) if path is not None]
        self._certificate, self._key, self._authorities = certificate, private_key, client_authorities
        self._lock = threading.Lock()
        self._stamps = self._look()
        self._looked = time.monotonic()
        self._context = self._made()

    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= _LOOK_EVERY:
                self._looked = now
                stamps = self._look()
                if stamps != self._stamps:
                    self._renew(stamps)
            return self._context

    def _renew(self, stamps: list[tuple[int, int, int]]) -> None:
        try:
            self._context = self._made()
        except GravitonError as error:
            log.error("the certificates have changed and those from before are kept: %s", error)
        else:
            log.info("the certificates have changed and are used from now on")
        self._stamps = stamps

    def _look(self) -> list[tuple[int, int, int]]:
        found = []
        for path in self._files:
            try:
                stat = os.stat(path)
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return found

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            what = f"the certificate {self._certificate} or its key {self._key}"
            raise Invalid(f"{what} cannot be used: {error}") from None
        if self._authorities is not None:
            try:
                context.load_verify_locations(self._authorities)
            except OSError as error:
                raise Invalid(f"{self._authorities} cannot be used for clients: {error}") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class TlsAdapter(Adapter):
    """What cheroot asks of TLS. The handshake is left to the connection's worker."""

    def __init__(self, files: TlsFiles) -> None:
        self._tls = files

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        context = self._tls.context()
        try:
            return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), {}
        except OSError as error:  # it has gone already, as those do that only look whether the port is open
            sock.close()
            raise FatalSSLAlert(*error.args) from error

    def get_environ(self) -> dict[str, Any]:
        return {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        return streams(sock, mode, bufsize)
