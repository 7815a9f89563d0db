"""TLS of the port, with certificates that may be replaced while the server runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import grpc

from graviton_server.grpc_api.settings import TlsFiles
from gravitonfs.errors import Invalid

log = logging.getLogger("graviton.grpc")


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Read again, when one of the files has changed, at the next connection; what cannot be read then is
    logged, and the certificate of before stays."""
    certificates = _Certificates(files)
    return grpc.dynamic_ssl_server_credentials(
        certificates.read(),
        certificates.changed,  # type: ignore[arg-type]  # the stubs do not know that it may be None
        require_client_authentication=files.client_ca_file is not None,
    )


class _Certificates:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: tuple[tuple[int, int], ...] = ()

    def _paths(self) -> list[Path]:
        files = self._files
        return [path for path in (files.cert_file, files.key_file, files.client_ca_file) if path is not None]

    def read(self) -> grpc.ServerCertificateConfiguration:
        try:
            self._stamp = tuple(_stamp(path) for path in self._paths())
            authority = self._files.client_ca_file
            return grpc.ssl_server_certificate_configuration(
                [(self._files.key_file.read_bytes(), self._files.cert_file.read_bytes())],
                root_certificates=authority.read_bytes() if authority is not None else None,
            )
        except OSError as error:
            raise Invalid(f"{error.filename} cannot be read for TLS: {error.strerror}") from error

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each connection; None: as before."""
        try:
            if tuple(_stamp(path) for path in self._paths()) == self._stamp:
                return None
            fresh = self.read()
        except (OSError, Invalid) as error:
            log.error("TLS goes on with the certificate of before: %s", error)
            return None
        log.info("TLS uses the new certificate in %s", self._files.cert_file)
        return fresh


def _stamp(path: Path) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_mtime_ns, info.st_ino
