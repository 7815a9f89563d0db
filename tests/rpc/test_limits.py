"""Who gets in, how much at a time, and what bad input is told."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from graviton_server.grpc_api.principals import Credentials, anyone
from graviton_server.grpc_api.server import GrpcServer, backend_of
from graviton_server.grpc_api.settings import TlsFiles
from graviton_server.limits import ByteRate, UploadSlots
from graviton_server.wiring import Engine
from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.core.ids import Ino
from gravitonfs.errors import (
    AccessDenied,
    Busy,
    GravitonError,
    Invalid,
    ReadOnly,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from gravitonfs.ports.ops import Batch, Create, SetRecord
from gravitonfs.rpc.graviton.v1 import blobs_pb2, namespace_pb2
from harness.waiting import wait_until
from rpc.serving import MIB, ROOT, SETTINGS, connected, serving


@dataclass
class Someone:
    name: str
    scopes: dict[str, set[str]] = field(default_factory=dict)

    def allows(self, scope: str, volume: str) -> bool:
        return scope in self.scopes.get(volume, set())


class Gate:
    """Tokens that expire when the test wants it."""

    def __init__(self) -> None:
        both = {"read", "write"}
        self.known = {
            "all": Someone("all", {"main": both, "other": both, "": {"admin"}}),
            "reader": Someone("reader", {"main": {"read"}}),
            "writer": Someone("writer", {"main": both}),
        }

    def __call__(self, credentials: Credentials) -> Someone:
        found = self.known.get(credentials.token or "")
        if found is None:
            raise Unauthenticated("the token is missing, unknown or expired")
        return found


class TestTokens:
    def test_scopes(self, engine: Engine) -> None:
        with serving(engine, authenticate=Gate()) as server:
            url = f"graviton://{server.address}"
            with Client(url, timeout=5) as nobody, pytest.raises(Unauthenticated):
                nobody.stat("/")
            with Client(url, token="wrong", timeout=5) as nobody, pytest.raises(Unauthenticated):
                nobody.blobs.put(b"x")
            with Client(url, token="writer", timeout=5) as writer:
                writer.write_bytes("f", os.urandom(2 * MIB))
                made = writer.blobs.put(b"blob")
                with pytest.raises(AccessDenied):
                    writer.create_volume("other")
            with Client(url, token="all", timeout=5) as admin:
                admin.create_volume("other")
            with Client(url + "/other", token="writer", timeout=5) as writer:
                with pytest.raises(AccessDenied):
                    writer.stat("/")
                with pytest.raises(AccessDenied):
                    writer.blobs.get(made.id)
                assert [volume.name for volume in writer.volumes()] == ["main"]
            with Client(url, token="reader", timeout=5) as reader:
                with pytest.raises(AccessDenied):
                    reader.stat("/")  # it would attach for writing
                with pytest.raises(AccessDenied):
                    reader.blobs.delete(made.id)
                assert reader.blobs.get(made.id) == b"blob"
            with Client(url, token="reader", timeout=5, read_only=True) as reader:
                assert len(reader.read_bytes("f")) == 2 * MIB
                with pytest.raises((ReadOnly, AccessDenied)):
                    reader.write_bytes("g", b"x")

    def test_an_expired_token_ends_what_it_began(self, engine: Engine, tmp_path: Path) -> None:
        gate = Gate()
        token_file = tmp_path / "token"
        token_file.write_text("writer\n")
        with serving(engine, authenticate=gate) as server:
            with Client(f"graviton://{server.address}", token_file=token_file, timeout=5) as client:
                client.write_bytes("f", b"1")
                gate.known["renewed"] = gate.known.pop("writer")
                with pytest.raises(Unauthenticated):
                    client.stat("f")
                token_file.write_text("renewed\n")
                assert client.read_bytes("f") == b"1"

    def test_a_session_is_its_owners(self, engine: Engine) -> None:
        with serving(engine, authenticate=Gate()) as server:
            endpoint = Endpoint((server.address,), token="writer")
            mine = Connection(endpoint)
            namespace = RemoteNamespace(mine, timeout=5)
            theirs = Connection(replace(endpoint, token="all"))
            request = namespace_pb2.LookupRequest(session=namespace.attachment.handle, parent=1, name=b"f")
            path = "/graviton.v1.NamespaceService/Lookup"
            with pytest.raises(AccessDenied):
                theirs.call(path, request, namespace_pb2.AttrReply, timeout=5)
            request.session = request.session[:8] + bytes(16)
            with pytest.raises(GravitonError, match="not attached"):
                mine.call(path, request, namespace_pb2.AttrReply, timeout=5)
            attach = namespace_pb2.AttachRequest(resume=request.session)
            with pytest.raises(GravitonError, match="cannot be resumed"):
                mine.call(
                    "/graviton.v1.NamespaceService/Attach", attach, namespace_pb2.AttachReply, timeout=5
                )
            namespace.detach()
            mine.close()
            theirs.close()


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @staticmethod
    def issue(authority: trustme.CA, folder: Path, name: str) -> tuple[Path, Path]:
        made = authority.issue_cert(name)
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(key))
        return cert, key

    def test_mutual(self, engine: Engine, authority: trustme.CA, tmp_path: Path) -> None:
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        cert, key = self.issue(authority, tmp_path, "127.0.0.1")
        theirs, their_key = self.issue(authority, tmp_path, "client.example")
        seen: list[Credentials] = []

        def remember(credentials: Credentials) -> Any:
            seen.append(credentials)
            return anyone(credentials)

        settings = replace(SETTINGS, tls=TlsFiles(cert, key, ca))
        with serving(engine, settings, remember) as server:
            url = f"gravitons://{server.address}"
            with Client(url, ca_file=ca, cert_file=theirs, key_file=their_key, timeout=5) as client:
                client.write_bytes("f", b"secret")
                assert client.read_bytes("f") == b"secret"
            assert seen[0].certificate["x509_subject_alternative_name"] == [b"client.example"]
            with Client(url, ca_file=ca, timeout=1) as client, pytest.raises(Unavailable):
                client.stat("/")
            with Client(f"graviton://{server.address}", timeout=1) as client, pytest.raises(Unavailable):
                client.stat("/")

    def test_certificates_are_replaced_while_it_runs(
        self, engine: Engine, authority: trustme.CA, tmp_path: Path
    ) -> None:
        other, new_ca = trustme.CA(), tmp_path / "new-ca.pem"
        other.cert_pem.write_to_path(str(new_ca))
        cert, key = self.issue(authority, tmp_path, "127.0.0.1")
        with serving(engine, replace(SETTINGS, tls=TlsFiles(cert, key))) as server:
            url = f"gravitons://{server.address}"
            with Client(url, ca_file=new_ca, timeout=1) as client, pytest.raises(Unavailable):
                client.stat("/")
            self.issue(other, tmp_path, "127.0.0.1")
            with Client(url, ca_file=new_ca, timeout=5) as client:
                assert client.stat("/").kind == "directory"


class TestLimits:
    def test_a_message_too_large(self, engine: Engine) -> None:
        with serving(engine, replace(SETTINGS, max_message_size=2 * MIB)) as server:
            with connected(server) as connection:
                request = namespace_pb2.ApplyRequest(session=bytes(24), batches=bytes(3 * MIB))
                with pytest.raises(Invalid, match="too large"):
                    connection.call(
                        "/graviton.v1.NamespaceService/Apply", request, namespace_pb2.ApplyReply, timeout=5
                    )
                assert RemoteNamespace(connection, timeout=5).lookup(ROOT, b"f") is None

    def test_a_client_keeps_to_small_messages(self, engine: Engine) -> None:
        data = os.urandom(20 * MIB)
        with serving(engine, replace(SETTINGS, max_message_size=2 * MIB)) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                client.write_bytes("f", data)
                for number in range(40):
                    client.write_bytes(f"small-{number}", data[number * 60_000 :][:60_000])
                assert client.read_bytes("f") == data
                assert client.read_bytes("small-7") == data[420_000:480_000]

    def test_uploads_at_a_time(self, engine: Engine) -> None:
        slots = UploadSlots(2)
        with serving(engine, slots=slots) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                begun, go_on = threading.Semaphore(0), threading.Event()

                def slow() -> Iterator[bytes]:
                    yield os.urandom(MIB)
                    begun.release()
                    go_on.wait(30)
                    yield b"end"

                threads = [threading.Thread(target=client.blobs.put, args=(slow(),)) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for _ in threads:
                    begun.acquire()
                wait_until(lambda: slots._free._value == 0, "both uploads to have begun")
                with pytest.raises(Throttled) as caught:
                    client.blobs.put(b"third")
                assert caught.value.retry_after > 0
                go_on.set()
                for thread in threads:
                    thread.join()
                client.blobs.put(b"third")
                assert server.tallies.uploads == 3

    def test_an_upload_that_stalls(self, engine: Engine) -> None:
        with serving(engine, replace(SETTINGS, request_timeout=0.5)) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                done = threading.Event()

                def stalls() -> Iterator[bytes]:
                    yield os.urandom(3 * MIB)
                    done.wait(30)

                with pytest.raises(Unavailable, match="nothing came"):
                    client.blobs.put(stalls())
                done.set()
                assert list(client.blobs.list()) == []
                wait_until(
                    lambda: client.volume.namespace.usage().inodes == 1, "nothing to be left of the upload"
                )

    def test_the_byte_rate_paces_and_then_refuses(self, engine: Engine) -> None:
        rate = ByteRate(4 * MIB, 2 * MIB)
        with serving(engine, replace(SETTINGS, request_timeout=2.0), rate=rate) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                started = time.monotonic()
                made = client.blobs.put(bytes(6 * MIB))  # of blocks as large as can be
                assert time.monotonic() - started > 0.8
                client.write_bytes("f", os.urandom(6 * MIB))  # the pipeline waits, it does not fail
                assert client.read_bytes("f", 0, 10)
                hurried = [threading.Thread(target=self.get, args=(client, made.id)) for _ in range(16)]
                self.refused = 0
                for thread in hurried:
                    thread.start()
                for thread in hurried:
                    thread.join()
                assert self.refused > 0

    refused = 0

    def get(self, client: Client, id: str) -> None:
        try:
            client.blobs.get(id)
        except Throttled:
            self.refused += 1

    def test_a_call_that_takes_too_long_ends(self, engine: Engine) -> None:
        """The client hears of it, whatever the server's thread is stuck in."""
        held = threading.Event()
        with (
            serving(engine, replace(SETTINGS, request_timeout=0.5)) as server,
            connected(server) as connection,
        ):
            namespace = RemoteNamespace(connection, timeout=3.0)

            def hold() -> None:
                with engine.namespace_store.lock:
                    held.wait(30)

            holder = threading.Thread(target=hold)
            holder.start()
            request = namespace_pb2.LookupRequest(session=namespace.attachment.handle, parent=1, name=b"f")
            started = time.monotonic()
            with pytest.raises(Unavailable):
                connection.call(
                    "/graviton.v1.NamespaceService/Lookup", request, namespace_pb2.AttrReply, timeout=20
                )
            assert time.monotonic() - started < 10
            held.set()
            holder.join()
            assert namespace.lookup(ROOT, b"f") is None
            namespace.detach()

    def test_an_address_in_use(self, engine: Engine) -> None:
        with serving(engine) as server:
            with pytest.raises(Busy, match="cannot be listened on"):
                GrpcServer(backend_of(engine), replace(SETTINGS, port=server.port))

    def test_stopping_lets_calls_end(self, engine: Engine) -> None:
        with serving(engine, replace(SETTINGS, stop_grace=20.0)) as server:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                begun = threading.Event()

                def slow() -> Iterator[bytes]:
                    yield os.urandom(MIB)
                    begun.set()
                    wait_until(server._stopping.is_set, "the server to be stopping")
                    yield b"end"

                stopping = threading.Thread(target=lambda: (begun.wait(), server.stop()))
                stopping.start()
                made = client.blobs.put(slow())
                stopping.join()
        with serving(engine) as server, Client(f"graviton://{server.address}", timeout=5) as client:
            assert len(client.blobs.get(made.id)) == MIB + 3


class TestStandardServices:
    def test_health(self, engine: Engine) -> None:
        with serving(engine) as server, grpc.insecure_channel(server.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for name in ("", "graviton.v1.BlobService", "graviton.v1.NamespaceService"):
                answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            server.serving(False)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING

    def test_reflection(self, engine: Engine) -> None:
        with serving(engine) as server, grpc.insecure_channel(server.address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            requests = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="graviton.v1.BlockService"),
            ]
            listed, described = stub.ServerReflectionInfo(iter(requests), timeout=5)
            names = {service.name for service in listed.list_services_response.service}
            assert {f"graviton.v1.{name}Service" for name in ("Admin", "Blob", "Block", "Namespace")} <= names
            assert described.file_descriptor_response.file_descriptor_proto

    def test_request_ids(self, engine: Engine) -> None:
        with serving(engine) as server, grpc.insecure_channel(server.address) as channel:
            stat = channel.unary_unary(
                "/graviton.v1.BlobService/Stat",
                blobs_pb2.StatBlobRequest.SerializeToString,
                blobs_pb2.BlobInfo.FromString,
            )
            with pytest.raises(grpc.RpcError) as caught:
                stat(blobs_pb2.StatBlobRequest(id="x"), metadata=(("x-request-id", "abc-1"),), timeout=5)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert dict(caught.value.trailing_metadata())["x-request-id"] == "abc-1"

    def test_jobs(self, engine: Engine) -> None:
        from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

        with serving(engine) as server, connected(server) as connection:
            with Client(f"graviton://{server.address}", timeout=5) as client:
                client.write_bytes("f", os.urandom(3 * MIB))
            admin = "/graviton.v1.AdminService/"
            for name in ("gc", "fsck", "scrub"):
                events = list(connection.stream(admin + "RunJob", pb.RunJobRequest(name=name), pb.JobEvent))
                assert events[-1].report.startswith("{")
            listed = connection.call(admin + "ListJobs", pb.ListJobsRequest(), pb.ListJobsReply, timeout=5)
            assert {job.name for job in listed.jobs} >= {"collect", "digest"}
            wanted = pb.RunJobRequest(name="gc", empty_trash=True)
            report = list(connection.stream(admin + "RunJob", wanted, pb.JobEvent))[-1].report
            assert json.loads(report)["erased"] == 0  # nothing was removed
            wanted = pb.RunJobRequest(name="fsck", empty_trash=True)
            with pytest.raises(Invalid, match="erase nothing"):
                list(connection.stream(admin + "RunJob", wanted, pb.JobEvent))
            with pytest.raises(Invalid, match="no job"):
                list(connection.stream(admin + "RunJob", pb.RunJobRequest(name="x"), pb.JobEvent))


class TestConnectionAge:
    def test_a_client_does_not_notice(self, engine: Engine) -> None:
        settings = replace(SETTINGS, max_connection_age=0.3, connection_age_grace=0.2)
        heard: list[Any] = []
        with serving(engine, settings) as server, connected(server) as connection:
            namespace = RemoteNamespace(connection, listener=heard.extend, timeout=10)
            other = RemoteNamespace(connection, timeout=10)
            until = time.monotonic() + 2.0
            number = 0
            while time.monotonic() < until:
                number += 1
                op = SetRecord("x", b"k", b"%d" % number, b"%d" % (number - 1) if number > 1 else b"")
                [reply] = namespace.apply([Batch(number, 1, (op,))], durable=False)
                assert reply.failure is None
            ino = Ino(other.grant(1)[0])
            other.apply([Batch(1, 1, (Create(ROOT, b"f", ino, 0o100644, 0, 0),))], durable=False)
            wait_until(lambda: any(change.name == b"f" for change in heard), "the change to be heard")
            namespace.detach()
            other.detach()
