"""Connections that end before TLS has begun."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
import trustme
from cheroot.errors import FatalSSLAlert

from graviton_webdav.tls import TlsAdapter, TlsFiles


def test_who_resets_the_connection_at_once_is_no_error_of_ours(tmp_path: Path) -> None:
    """Load balancers look like that whether a port is open, with something sent or without."""
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    adapter = TlsAdapter(TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.sendall(b"not much")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        accepted, _ = server.accept()
        with pytest.raises(FatalSSLAlert):
            adapter.wrap(accepted)
        assert accepted.fileno() == -1
