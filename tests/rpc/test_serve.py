"""``graviton serve`` and ``graviton up``: gRPC as the configuration says, beside the other front ends."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from pathlib import Path

import pytest

from gravitonfs.client import Client
from gravitonfs.errors import AccessDenied, FileTooLarge, Unauthenticated
from harness.programs import Graviton


def address(ready: str, what: str) -> str:
    match = re.search(rf"\b{what}=(\S+)", ready)
    assert match is not None, ready
    return match[1]


def test_http_and_grpc_are_one_store(graviton: Graviton, scratch: Path) -> None:
    running = graviton.start(
        "serve", "--data", scratch / "data", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
    )
    ready = running.ready_line()
    http = address(ready, "http")
    with Client(f"graviton://{address(ready, 'grpc')}", timeout=10) as client:
        data = os.urandom(2_000_000)
        made = client.blobs.put(data)
        client.write_bytes("f", data)
        with urllib.request.urlopen(f"{http}/api/v1/blobs/{made.id}") as answer:
            assert answer.read() == data
        with urllib.request.urlopen(f"{http}/api/v1/files/f") as answer:
            assert answer.read() == data
        request = urllib.request.Request(f"{http}/api/v1/files/g", b"by http", method="PUT")
        urllib.request.urlopen(request).close()
        assert client.read_bytes("g") == b"by http"
        with urllib.request.urlopen(f"{http}/metrics") as answer:
            page = answer.read().decode()
        assert 'graviton_uploads_total{front_end="grpc"} 1.0' in page
        assert re.search(r'graviton_request_duration_seconds_count\{front_end="grpc",operation="', page)
    assert running.stop() == 0


@pytest.mark.mount
def test_up_serves_grpc_beside_a_mount(graviton: Graviton, scratch: Path) -> None:
    point = scratch / "mnt"
    running = graviton.start(
        "up", "--data", scratch / "data", "--mount", point, "--webdav", "off", "--grpc", "127.0.0.1:0"
    )
    ready = running.ready_line()
    with Client(f"graviton://{address(ready, 'grpc')}", timeout=10) as client:
        for turn in range(20):
            client.write_bytes("f", b"%d" % turn)
            assert (point / "f").read_bytes() == b"%d" % turn
            (point / "g").write_bytes(b"%d" % turn)
            assert client.read_bytes("g") == b"%d" % turn
    assert running.stop() == 0


def test_tokens_and_limits_of_the_configuration(graviton: Graviton, scratch: Path) -> None:
    file = scratch / "graviton.conf"
    file.write_text(
        "graviton { auth.enabled = true, constraints.max-blob-size = 1MB,"
        " server.grpc.max-message-size = 4MB }"
    )
    data = scratch / "data"
    graviton.run("init", data)
    made = graviton.run("token", "create", "--name", "reader", "--scope", "read", "--json", data)
    running = graviton.start(
        "serve", "--config", file, "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"
    )
    grpc = address(running.ready_line(), "grpc")
    with Client(f"graviton://{grpc}", timeout=5) as nobody, pytest.raises(Unauthenticated):
        nobody.stat("/")
    token = json.loads(made.stdout)["token"]
    with Client(f"graviton://{grpc}", token=token, timeout=5, read_only=True) as reader:
        assert reader.stat("/").kind == "directory"
        with pytest.raises(AccessDenied):
            reader.blobs.put(b"x")
    told = graviton.run("token", "create", "--name", "w", "--json", data)
    with Client(f"graviton://{grpc}", token=json.loads(told.stdout)["token"], timeout=5) as writer:
        with pytest.raises(FileTooLarge):
            writer.blobs.put(bytes(2_000_000))
        writer.blobs.put(bytes(1_000_000))
    assert running.stop() == 0
