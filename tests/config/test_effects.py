"""What single keys do, by way of a daemon that is started with them; see ``effects`` for all the others."""

from __future__ import annotations

import os
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from graviton_server.cli.engines import engine_options
from graviton_server.cli.grpc import grpc_settings
from graviton_server.cli.serve import choices_of
from graviton_server.config.load import load
from graviton_server.grpc_api.server import _options
from graviton_server.targets import s3
from graviton_server.wiring import configured, open_embedded
from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.volumes import open_volume
from gravitonfs.core.hashing import block_id
from gravitonfs.errors import GravitonError, Invalid, Unavailable
from gravitonfs.ports.blocks import Block
from gravitonfs.rpc.graviton.v1 import blocks_pb2
from harness.api import Api, address_in
from harness.buckets import client, new_bucket
from harness.postgres import PostgresServer, debian_binaries
from harness.programs import Graviton, Running
from harness.s3server import S3Server

ANYWHERE = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
MIB = 1 << 20


@pytest.fixture
def serve(graviton: Graviton, scratch: Path) -> Callable[..., Running]:
    def start(text: str, *flags: str, **environment: str) -> Running:
        file = scratch / "graviton.conf"
        file.write_text(f"graviton {{ data-dir = {scratch / 'data'}\n{text}\n}}")
        return graviton.start("serve", "--config", file, *(flags or ANYWHERE), **environment)

    return start


@dataclass
class Certificates:
    """Of an authority: the server's, a client's."""

    authority: Path
    chain: Path
    key: Path
    client_chain: Path
    client_key: Path


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = trustme.CA()
    made = Certificates(*(tmp_path / name for name in ("ca", "chain", "key", "client", "client-key")))
    authority.cert_pem.write_to_path(str(made.authority))
    for issued, chain, key in (
        (authority.issue_cert("127.0.0.1"), made.chain, made.key),
        (authority.issue_cert("somebody@example.com"), made.client_chain, made.client_key),
    ):
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(chain), append=number > 0)
        issued.private_key_pem.write_to_path(str(key))
    return made


def test_the_data_directory(serve: Callable[..., Running], scratch: Path) -> None:
    running = serve("")
    running.ready_line()
    assert (scratch / "data" / "namespace.db").exists()
    assert running.stop() == 0


def test_grpc_with_tls_and_certificates_of_clients(
    serve: Callable[..., Running], certificates: Certificates, graviton: Graviton
) -> None:
    graviton.allow_log("Handshake|handshake|SSL")
    running = serve(
        f"""server.grpc {{ host = localhost, port = 0, tls {{ enabled = true
            cert-chain-file = "{certificates.chain}", private-key-file = "{certificates.key}"
            trust-cert-collection-file = "{certificates.authority}" }} }}""",
        "--http",
        "127.0.0.1:0",
    )
    address = address_in(running.ready_line(), "grpc")
    assert address.startswith("localhost:")
    url = f"gravitons://127.0.0.1:{address.rpartition(':')[2]}"
    known = {"cert_file": certificates.client_chain, "key_file": certificates.client_key}
    with Client(url, ca_file=certificates.authority, timeout=10, **known) as someone:  # type: ignore[arg-type]
        someone.write_bytes("f", b"by a client with a certificate")
    with Client(url, ca_file=certificates.authority, timeout=1) as nobody, pytest.raises(Unavailable):
        nobody.stat("/")
    assert running.stop() == 0


def test_messages_of_grpc_have_a_limit(serve: Callable[..., Running]) -> None:
    running = serve("server.grpc.max-message-size = 3MiB")
    connection = Connection(Endpoint((address_in(running.ready_line(), "grpc"),)))

    def put(count: int) -> None:
        bodies = [os.urandom(MIB) for _ in range(count)]
        blocks = [blocks_pb2.Block(id=block_id(b), codec=0, plain_length=MIB, payload=b) for b in bodies]
        request = blocks_pb2.PutRequest(blocks=blocks)
        connection.call("/graviton.v1.BlockService/Put", request, blocks_pb2.PutReply, timeout=10)

    put(2)
    with pytest.raises(Invalid, match="too large"):
        put(3)
    connection.close()
    assert running.stop() == 0


def test_an_idle_connection_is_probed(tmp_path: Path) -> None:
    file = tmp_path / "graviton.conf"
    file.write_text("graviton.server.grpc.keepalive-time = 7s")
    loaded = load(str(file))
    options = dict(_options(grpc_settings(loaded.config, loaded.surroundings)))
    assert options["grpc.keepalive_time_ms"] == 7000
    assert options["grpc.keepalive_timeout_ms"] == 7000
    assert options["grpc.keepalive_permit_without_calls"] == 1


def test_webdav_with_tls_and_users(
    serve: Callable[..., Running], graviton: Graviton, scratch: Path, certificates: Certificates
) -> None:
    users = scratch / "users"
    graviton.run("passwd", users, "ann", stdin=b"her password\n")
    running = serve(
        f"""webdav {{ enabled = true, host = localhost, port = 0, users-file = "{users}", tls {{
            enabled = true, cert-file = "{certificates.chain}", key-file = "{certificates.key}" }} }}"""
    )
    address = address_in(running.ready_line(), "webdav")
    assert address.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificates.authority))
    port = address.rstrip("/").rpartition(":")[2]
    dav = Api(f"https://127.0.0.1:{port}", context=context)
    assert dav("PUT", "/f", b"x").status == 401
    basic = "Basic " + b64encode(b"ann:her password").decode()
    assert dav("PUT", "/f", b"x", Authorization=basic).status == 201
    dav.close()
    assert running.stop() == 0


def test_how_the_bucket_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings have tests of their own; here is that they get there."""
    file = tmp_path / "graviton.conf"
    file.write_text(
        """graviton.storage { backend = s3, s3 { bucket = b, region = eu-x-1, endpoint = "http://store:9"
        path-style = false, sse = "aws:kms:k", storage-class = STANDARD_IA, ca-file = /ca.pem
        multipart { part-size = 6MiB, max-parts = 77 } } }"""
    )
    made: list[Any] = []

    def capture(settings: Any, *_: Any, **__: Any) -> Any:
        made.append(settings)
        raise GravitonError("seen")

    monkeypatch.setattr(s3, "S3Target", capture)
    with pytest.raises(GravitonError, match="seen"):
        configured._target(load(str(file)).config, tmp_path, bytes(16), create=True)
    [found] = made
    assert (found.bucket, found.region, found.endpoint) == ("b", "eu-x-1", "http://store:9")
    assert (found.addressing, found.ca_file) == ("auto", "/ca.pem")
    assert (found.part_size, found.max_parts) == (6 * MIB, 77)
    assert found.object_options == {
        "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "StorageClass": "STANDARD_IA",
    }  # fmt: skip


def test_objects_have_the_class_that_was_asked_for(
    serve: Callable[..., Running], s3_server: S3Server
) -> None:
    bucket = new_bucket(s3_server)
    running = serve(
        f"""storage {{ backend = s3, s3 {{ bucket = {bucket}, endpoint = "{s3_server.endpoint}"
            path-style = true, storage-class = STANDARD_IA }} }}"""
    )
    api = Api(address_in(running.ready_line()))
    assert api("PUT", "/api/v1/files/f", os.urandom(3_000_000)).status == 201
    api.close()
    assert running.stop() == 0
    bucketed = client(s3_server.endpoint)
    packs = [
        item["Key"] for item in bucketed.list_objects_v2(Bucket=bucket)["Contents"] if "packs/" in item["Key"]
    ]
    assert packs
    assert {bucketed.head_object(Bucket=bucket, Key=key).get("StorageClass") for key in packs} == {
        "STANDARD_IA"
    }


def test_connections_of_a_daemon(serve: Callable[..., Running]) -> None:
    """Many requests at once share few connections to the database."""
    server = PostgresServer(debian_binaries())
    try:
        name = server.database().rpartition("dbname=")[2]
        url = f"jdbc:postgresql://{str(server.home).replace('/', '%2F')}/{name}"
        running = serve(f'database {{ jdbc-url = "{url}", username = graviton, pool-size = 3 }}')
        url = f"graviton://{address_in(running.ready_line(), 'grpc')}"
        with Client(url, timeout=30) as someone:
            for number in range(20):
                someone.write_bytes(f"f{number}", b"x")
        [(pooled,)] = server.execute(
            "SELECT count(*) FROM pg_stat_activity"
            f" WHERE datname = '{name}' AND application_name = 'graviton'"
        )
        assert 1 <= int(str(pooled)) <= 3
        assert running.stop() == 0
    finally:
        server.close()


def test_background_work_keeps_to_the_configuration(tmp_path: Path) -> None:
    """``gc.*`` and ``scrub.bytes-per-second`` get to the engine that does the work, and the rate is kept."""
    file = tmp_path / "graviton.conf"
    file.write_text("graviton { gc { interval = 7m, grace = 2h, keep = 3h }, scrub.bytes-per-second = 2MB }")
    loaded = load(str(file))
    options = engine_options(choices_of(loaded))
    assert options.maintenance is not None
    settings = options.maintenance
    assert (settings.collect_rest, settings.grace, settings.keep) == (420.0, 7200.0, 10800.0)
    assert settings.bytes_per_second == 2_000_000
    file.write_text("graviton { }")
    rests = engine_options(choices_of(load(str(file)))).maintenance
    assert rests is not None
    assert rests.collect_rest == 15.0, "one process owns the volume"
    file.write_text('graviton.database.jdbc-url = "jdbc:postgresql://h/d"')
    rests = engine_options(choices_of(load(str(file)))).maintenance
    assert rests is not None
    assert rests.collect_rest == 3600.0, "daemons share it"


def test_the_rate_of_background_work(tmp_path: Path) -> None:
    from graviton_server.maintenance.work import Work

    with open_embedded(tmp_path / "data", create=True) as engine:
        data = os.urandom(4 * MIB)
        parts = [data[at : at + MIB] for at in range(0, len(data), MIB)]
        packs = engine.store.put([Block(block_id(part), 0, MIB, part) for part in parts])
        engine.store.sync(packs)
        engine.store.seal_open()
        began = time.monotonic()
        engine.maintenance.scrub(Work(bytes_per_second=2 * MIB))
        assert time.monotonic() - began > 0.7


def test_whose_blocks_a_writer_may_find(serve: Callable[..., Running]) -> None:
    sent = {}
    for scope in ("volume", "store"):
        running = serve(f"dedupe-scope = {scope}")
        ready = running.ready_line()
        api = Api(address_in(ready))
        api("POST", "/api/v1/admin/volumes", {"name": "other"})
        api.close()
        connection = Connection(Endpoint((address_in(ready, "grpc"),)))
        data = os.urandom(4 * MIB)
        counts = []
        for name in ("main", "other"):
            volume = open_volume(connection, name, timeout=20)
            with volume.stage(mode=0o644, uid=0, gid=0) as staged:
                staged.write(data)
                staged.publish(volume.namespace.root, scope.encode())
            counts.append(volume.store.counters().bytes_put)
            volume.close()
        sent[scope] = counts
        connection.close()
        assert running.stop() == 0
    assert sent["volume"][1] > 3 * MIB
    assert sent["store"][0] > 3 * MIB
    assert sent["store"][1] == 0
