"""Bits that flip between a client and a daemon, under TLS: calls are tried again, bytes are never others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import trustme

from graviton_server.grpc_api.settings import TlsFiles
from graviton_server.wiring import Engine
from gravitonfs.client import Client
from gravitonfs.client.blobs import Uploaded
from gravitonfs.errors import Unavailable
from harness.api import blob_id
from harness.proxy import TcpProxy
from harness.waiting import wait_until
from rpc.serving import SETTINGS, serving

MIB = 1 << 20


def test_under_tls(engine: Engine, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key, ca = tmp_path / "cert", tmp_path / "key", tmp_path / "ca"
    issued.private_key_pem.write_to_path(key)
    for at, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(cert, append=at > 0)
    authority.cert_pem.write_to_path(ca)
    settings = replace(SETTINGS, tls=TlsFiles(cert, key))
    with serving(engine, settings) as server, TcpProxy("127.0.0.1", server.port) as proxy:
        url = f"gravitons://127.0.0.1:{proxy.port}/main"
        written = {}
        with Client(url, ca_file=ca, timeout=30) as client:
            for turn in range(8):
                data = written[f"f{turn}"] = os.urandom([100, 3 * MIB][turn % 2])
                proxy.corrupt("up", turn * 50_000 if turn % 2 else 0)
                client.write_bytes(f"f{turn}", data)
        for turn in range(4):
            with Client(url, ca_file=ca, timeout=30) as reader:  # with nothing cached
                reader.stat("/")
                proxy.corrupt("down", 200_000 * turn)
                for name, data in written.items():
                    assert reader.read_bytes(name) == data
        with Client(url, ca_file=ca, timeout=30) as client:
            data = os.urandom(5 * MIB)
            proxy.corrupt("up", 2 * MIB)
            made = again(lambda: client.blobs.put(data))
            assert made == blob_id(data)
            proxy.corrupt("down", 2 * MIB)
            assert client.blobs.get(made) == data
        assert proxy.fired >= 12
    with serving(engine) as server, Client(f"graviton://{server.address}", timeout=10) as client:
        for name, data in written.items():
            assert client.read_bytes(name) == data
        assert [found.id for found in client.blobs.list()] == [made]
    assert list(engine.namespace_store.upkeep.check()) == []


def again(put: Callable[[], Uploaded]) -> str:
    """A blob whose upload is cut is the caller's to send once more: its source may be gone."""

    def attempt() -> str | None:
        try:
            return put().id
        except Unavailable:
            return None

    return wait_until(attempt, "the blob to be stored") or ""
