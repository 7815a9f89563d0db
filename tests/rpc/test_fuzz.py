"""Whatever arrives: a documented status, no error of the server's own, and it goes on answering."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graviton_server.grpc_api.server import GrpcServer, backend_of
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.errors import GravitonError, Invalid
from gravitonfs.ports import wire
from gravitonfs.rpc.graviton.v1 import admin_pb2, blobs_pb2, blocks_pb2, namespace_pb2

SERVICES = [
    service
    for module in (admin_pb2, blobs_pb2, blocks_pb2, namespace_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
UNARY = [
    (service, method)
    for service in SERVICES
    for method in service.methods
    if not method.client_streaming and method.name not in ("Watch", "RunJob", "AddTarget")  # goes to places
]
BAD = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
FEW = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Served:
    def __init__(self, server: GrpcServer, channel: grpc.Channel, namespace: RemoteNamespace) -> None:
        self.server = server
        self.channel = channel
        self.namespace = namespace
        self.before: dict[str, int] = {}

    def send(self, service: Any, method: Any, data: bytes) -> grpc.StatusCode:
        path = f"/{service.full_name}/{method.name}"
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(path, lambda raw: raw, lambda raw: raw)
        try:
            answer = call(data, timeout=20)
            if method.server_streaming:
                list(answer)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[no-any-return]
        return grpc.StatusCode.OK

    def sound(self, code: grpc.StatusCode, path: str) -> None:
        assert code not in BAD, f"{path} answered {code}"
        errors = self.server.tallies.errors()
        errors.pop("damaged", None)  # a block that nobody has is one that has been lost
        fresh = {kind: count - self.before.get(kind, 0) for kind, count in errors.items()}
        self.before = errors
        assert not any(fresh.values()), f"{path}: {fresh}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data: Path = tmp_path_factory.mktemp("fuzzed") / "data"
    options = EngineOptions(memory=64 << 20, background=False)
    with open_embedded(data, create=True, options=options) as engine:
        server = GrpcServer(backend_of(engine), GrpcSettings(port=0, stop_grace=0.5))
        server.start()
        connection = Connection(Endpoint((server.address,)))
        namespace = RemoteNamespace(connection, timeout=10)
        with grpc.insecure_channel(server.address) as channel:
            yield Served(server, channel, namespace)
        namespace.detach()
        connection.close()
        server.stop()
        assert list(engine.namespace_store.upkeep.check()) == []


NUMBERS = st.sampled_from([0, 1, 2, 16, 255, 1 << 31, (1 << 32) - 1]) | st.integers(0, (1 << 64) - 1)
BYTES = st.binary(max_size=80) | st.sampled_from([b"", bytes(32), bytes(64), b"a/b", b"..", b"\xff" * 300])
TEXTS = st.text(max_size=20) | st.sampled_from(["main", "nothing", "blake3:" + "0" * 64 + ":0", "gc"])


@st.composite
def messages(draw: st.DrawFn, descriptor: Any, session: bytes) -> Any:
    """A well-formed message with any values; a session field is mostly the right one."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.integers(0, 4)):
            continue
        if field.name == "session" and draw(st.integers(0, 9)):
            message.session = session
            continue
        if field.message_type is not None:
            parts = [draw(messages(field.message_type, session)) for _ in range(draw(st.integers(1, 3)))]
            if field.is_repeated:
                getattr(message, field.name).extend(parts)
            else:
                getattr(message, field.name).CopyFrom(parts[0])
            continue
        values = {
            FieldDescriptor.CPPTYPE_STRING: BYTES if field.type == FieldDescriptor.TYPE_BYTES else TEXTS,
            FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
            FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
            FieldDescriptor.CPPTYPE_UINT32: NUMBERS.map(lambda n: n & 0xFFFFFFFF),
            FieldDescriptor.CPPTYPE_INT64: NUMBERS.map(lambda n: n - (1 << 63)),
        }.get(field.cpp_type, NUMBERS)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=5)))
        else:
            setattr(message, field.name, draw(values))
    return message


@FEW
@given(data=st.data())
def test_any_bytes(served: Served, data: st.DataObject) -> None:
    service, method = data.draw(st.sampled_from(UNARY))
    served.sound(served.send(service, method, data.draw(st.binary(max_size=200))), method.full_name)


@FEW
@given(data=st.data())
def test_any_message(served: Served, data: st.DataObject) -> None:
    service, method = data.draw(st.sampled_from(UNARY))
    if method.name in ("Detach", "EvictSession"):
        return
    message = data.draw(messages(method.input_type, served.namespace.attachment.handle))
    if method.name == "Attach":
        message.volume, message.resume = "nothing", b""
    code = served.send(service, method, message.SerializeToString())
    served.sound(code, f"{method.full_name} {message}")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | BYTES | TEXTS,
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)
OPS = [
    "Create", "Link", "Unlink", "Rmdir", "Rename", "SetAttr", "Truncate", "Write", "Append", "Rewrite",
    "Seal", "Publish", "Clone", "RemoveTree", "SetXattr", "RemoveXattr", "Disclaim", "SetRecord",
    "AddBlobRef",
    "DropBlobRef", "Nothing",
]  # fmt: skip
FIELDS = st.one_of(NUMBERS.map(lambda n: n >> 1), BYTES, st.booleans(), st.none(), JUNK)
OP = st.tuples(st.sampled_from(OPS), st.lists(FIELDS, max_size=8)).map(lambda pair: [pair[0], *pair[1]])
LIKELY = st.one_of(
    st.tuples(st.just("Create"), st.just(1), BYTES, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("Truncate"), st.integers(1, 40), NUMBERS),
    st.tuples(st.just("SetAttr"), st.integers(1, 40), NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("SetXattr"), st.integers(1, 40), BYTES, BYTES, NUMBERS),
    st.tuples(st.just("Rename"), st.just(1), BYTES, st.integers(0, 40), BYTES, NUMBERS),
    st.tuples(st.just("Clone"), st.integers(0, 40), st.just(1), BYTES, NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("RemoveTree"), st.integers(0, 40), BYTES),
    st.tuples(
        st.just("Write"),
        st.integers(1, 40),
        st.lists(st.tuples(NUMBERS, NUMBERS, st.just(bytes(32)), NUMBERS, NUMBERS), max_size=3),
        NUMBERS,
    ),
)


@FEW
@given(ops=st.lists(OP | LIKELY, max_size=4), body=st.none() | st.binary(max_size=60))
def test_any_batch(served: Served, ops: list[Any], body: bytes | None) -> None:
    """As another language's client would send it: the fields have any type and value."""
    number = served.server.sessions._backend.sessions.state_of(served.namespace.session).last + 1
    data = body if body is not None else msgspec.msgpack.encode([[number, 1, ops]])
    request = namespace_pb2.ApplyRequest(session=served.namespace.attachment.handle, batches=data)
    service = namespace_pb2.DESCRIPTOR.services_by_name["NamespaceService"]
    code = served.send(service, service.methods_by_name["Apply"], request.SerializeToString())
    served.sound(code, f"Apply {ops}")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300) | JUNK.map(msgspec.msgpack.encode))
def test_decoders_answer_or_say_invalid(data: bytes) -> None:
    for decode in (
        wire.decode_attr, wire.decode_attrs, wire.decode_batches, wire.decode_blob, wire.decode_blobs,
        wire.decode_changes, wire.decode_entries, wire.decode_pairs, wire.decode_regions, wire.decode_replies,
        wire.decode_triples,
    ):  # fmt: skip
        try:
            decode(data)
        except Invalid:
            pass
    assert isinstance(wire.decode_error(data), GravitonError)
