"""A daemon that is too busy is waited for, however long, and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from graviton_server.wiring import Engine
from gravitonfs.client.connection import Connection, M
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.errors import GravitonError, Throttled, Unavailable
from gravitonfs.ports.ops import Batch, SetRecord
from gravitonfs.rpc.graviton.v1 import namespace_pb2 as pb
from rpc.serving import serving


class Busy(Connection):
    """``refusals`` meet the next batches, one each."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.refusals: list[GravitonError] = []
        self.forgets = False
        """The daemon says that it has seen no batch, as after a crash."""

    def call(self, path: str, request: Message, reply: type[M], **options: Any) -> M:
        if path.endswith("/Apply") and self.refusals:
            raise self.refusals.pop(0)
        answer = super().call(path, request, reply, **options)
        if self.forgets and isinstance(answer, pb.AttachReply):
            answer.last = 0
        return answer


@pytest.fixture
def busy(engine: Engine) -> Iterator[Busy]:
    with serving(engine) as server:
        connection = Busy(Endpoint((server.address,)))
        yield connection
        connection.close()


def record(number: int) -> Batch:
    return Batch(number, 1, (SetRecord("x", b"%d" % number, b"v"),))


def test_waiting_for_a_busy_daemon_is_no_waiting_for_one_that_is_away(busy: Busy) -> None:
    """The bound begins anew with each answer that says that it is busy."""
    namespace = RemoteNamespace(busy, timeout=0.5)
    throttled = [Throttled("too many calls", retry_after=0.1) for _ in range(8)]
    busy.refusals = [*throttled, Unavailable("the daemon does not answer"), *throttled]
    [reply] = namespace.apply([record(1)], durable=False)
    assert reply.failure is None
    assert busy.refusals == []
    namespace.detach()


def test_what_a_busy_daemon_does_not_take_again_is_not_lost(busy: Busy) -> None:
    namespace = RemoteNamespace(busy, timeout=10)
    namespace.apply([record(number) for number in (1, 2, 3)], durable=False)
    assert len(namespace.attachment.kept) == 3
    busy.forgets = True
    busy.refusals = [Throttled("too many calls", retry_after=0.05) for _ in range(2)]
    namespace.attachment.detached(namespace.attachment.handle)
    [reply] = namespace.apply([record(4)], durable=False)
    assert reply.failure is None
    assert busy.refusals == []
    assert namespace.lost.all() == []
    assert len(namespace.records("x")) == 4
    namespace.detach()
