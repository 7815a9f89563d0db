"""A daemon that is killed, connections that are cut: exactly once, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.client import Client
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.client.volumes import open_volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Fenced, NotFound, Stale, Unavailable
from gravitonfs.ports.namespace import EVERYTHING, Change
from gravitonfs.ports.ops import Append, Batch, Create, SetRecord, Unlink
from harness.waiting import wait_until
from rpc.running import Daemon, Wire, untroubled

ROOT = Ino(1)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with untroubled(tmp_path / "data", scratch) as started:
        yield started


@pytest.fixture
def wire(running: Daemon) -> Iterator[Wire]:
    made = Wire(running.port)
    yield made
    made.close()


def connected(port: int) -> Connection:
    return Connection(Endpoint((f"127.0.0.1:{port}",)))


def check(data: Path) -> list[str]:
    """What fsck finds in the store that the daemon has left, data read."""
    with open_embedded(data, options=EngineOptions(memory=64 << 20, background=False)) as engine:
        report = engine.maintenance.check(read_data=True)
    return [finding.what for finding in report.findings if finding.is_damage]


class TestKilledDaemon:
    def test_batches_happen_exactly_once(self, running: Daemon) -> None:
        """A counter that every batch expects at its old value: one batch twice, or none, would show."""
        connection = connected(running.port)
        namespace = RemoteNamespace(connection, timeout=30)
        done = 0
        killer = threading.Thread(target=lambda: [self.later(running) for _ in range(4)])
        killer.start()
        while killer.is_alive() or done < 500:
            done += 1
            before = b"%d" % (done - 1) if done > 1 else b""
            op = SetRecord("test", b"counter", b"%d" % done, before)
            [reply] = namespace.apply([Batch(done, time.time_ns(), (op,))], durable=done % 50 == 0)
            assert reply.failure is None, (done, reply.failure)
        killer.join()
        assert namespace.records("test") == [(b"counter", b"%d" % done)]
        assert namespace.lost.all() == []
        namespace.detach()
        connection.close()
        assert running.count == 5

    @staticmethod
    def later(running: Daemon) -> None:
        time.sleep(random.uniform(0.3, 1.0))
        running.restart()

    def test_what_was_written_is_there(self, running: Daemon, tmp_path: Path) -> None:
        """Files of all sizes, some durable, while the daemon is killed again and again."""
        connection = connected(running.port)
        volume = open_volume(connection, timeout=30)
        killer = threading.Thread(target=lambda: [self.later(running) for _ in range(3)])
        killer.start()
        written: dict[str, bytes] = {}
        number = 0
        with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=30) as client:
            while killer.is_alive() or number < 30:
                size = random.choice([10, 5_000, 100_000, 1_500_000, 9_000_000])
                written[f"f{number}"] = data = os.urandom(size)
                client.write_bytes(f"f{number}", data)
                attr = volume.submit_for_attr(Create(ROOT, b"n%d" % number, volume.new_ino(), 0o100644, 0, 0))
                writer = volume.writer(attr)
                writer.write(0, data)
                writer.flush(seal=True)
                written[f"n{number}"] = data
                number += 1
            killer.join()
            for name, data in written.items():
                assert client.read_bytes(name) == data, name
        assert volume.namespace.usage().inodes == len(written) + 1
        volume.close()
        connection.close()
        running.stop()
        assert check(tmp_path / "data") == []

    def test_open_files_outlive_their_names_and_the_daemon(self, running: Daemon) -> None:
        connection = connected(running.port)
        opened: set[int] = set()
        holder = RemoteNamespace(connection, claims=lambda ino: ino in opened, timeout=30)
        other = RemoteNamespace(connection, timeout=30)
        first = holder.grant(10)[0]
        for number, name in enumerate((b"open", b"closed")):
            op = Create(ROOT, name, Ino(first + number), 0o100644, 0, 0)
            holder.apply([Batch(number + 1, 1, (op,))], durable=True)
        opened.add(first)
        other.apply([Batch(1, 1, (Unlink(ROOT, b"open"), Unlink(ROOT, b"closed")))], durable=True)
        running.restart()
        assert holder.attr(Ino(first)).nlink == 0

        def freed() -> bool:
            try:
                other.attr(Ino(first + 1))
            except Stale:
                return True
            return False

        wait_until(freed, "the file that nobody has open to be freed")
        assert holder.attr(Ino(first)).nlink == 0
        holder.detach()
        with pytest.raises(Stale):
            other.attr(Ino(first))
        other.detach()
        connection.close()

    def test_a_daemon_that_stays_away_is_told(self, running: Daemon) -> None:
        connection = connected(running.port)
        namespace = RemoteNamespace(connection, timeout=1.0)
        running.kill()
        started = time.monotonic()
        with pytest.raises(Unavailable):
            namespace.lookup(ROOT, b"f")
        with pytest.raises(Unavailable):
            namespace.apply([Batch(1, 1, (SetRecord("x", b"k", b"v"),))], durable=True)
        assert 2.0 <= time.monotonic() - started < 10
        running.start()
        namespace.timeout = 30
        [reply] = namespace.apply([Batch(1, 1, (SetRecord("x", b"k", b"v"),))], durable=True)
        assert reply.failure is None
        assert reply.number == 1
        namespace.detach()
        connection.close()

    def test_what_was_given_up_does_not_answer_for_another(self, running: Daemon, wire: Wire) -> None:
        """The reply is lost and the caller gives up: its next batch has the same number and other ops."""
        connection = connected(wire.port)
        namespace = RemoteNamespace(connection, timeout=0.5)
        direct = connected(running.port)
        other = RemoteNamespace(direct, timeout=10)
        number = 0
        for turn in range(3):
            number += 1
            [reply] = namespace.apply(
                [Batch(number, 1, (SetRecord("x", b"k", b"%d" % turn),))], durable=False
            )
            assert (reply.number, reply.failure) == (number, None)
            lost = SetRecord("x", b"lost", b"%d" % turn)
            wire.hold_replies()
            with pytest.raises(Unavailable):
                namespace.apply([Batch(number + 1, 1, (lost,))], durable=False)
            wait_until(
                lambda turn=turn: (b"lost", b"%d" % turn) in other.records("x"),  # type: ignore[misc]
                "the batch to be applied nevertheless",
            )
            wire.release()
            wire.cut()
            namespace.timeout = 10
            number += 1
            [reply] = namespace.apply(
                [Batch(number, 1, (SetRecord("x", b"n%d" % turn, b"v"),))], durable=False
            )
            assert (reply.number, reply.failure) == (number, None)
            assert (b"n%d" % turn, b"v") in other.records("x")
            namespace.timeout = 0.5
        namespace.timeout = 10
        running.restart()
        number += 1
        [reply] = namespace.apply([Batch(number, 1, (SetRecord("x", b"end", b"v"),))], durable=True)
        assert (reply.number, reply.failure) == (number, None)
        assert dict(other.records("x")) == {
            b"k": b"2", b"lost": b"2", b"n0": b"v", b"n1": b"v", b"n2": b"v", b"end": b"v"
        }  # fmt: skip
        for one in (namespace, other):
            one.detach()
        connection.close()
        direct.close()

    def test_a_stopping_daemon_hands_its_sessions_over(self, running: Daemon) -> None:
        connection = connected(running.port)
        namespace = RemoteNamespace(connection, timeout=30)
        namespace.apply([Batch(1, 1, (SetRecord("x", b"k", b"1"),))], durable=False)
        number = namespace.session
        running.stop()
        running.start()
        namespace.apply([Batch(2, 1, (SetRecord("x", b"k", b"2", b"1"),))], durable=False)
        assert namespace.records("x") == [(b"k", b"2")]
        assert namespace.session == number
        namespace.detach()
        connection.close()


class TestCutConnections:
    def test_appends_happen_once(self, running: Daemon, wire: Wire) -> None:
        """The reply is lost as often as the request."""
        connection = connected(wire.port)
        volume = open_volume(connection, timeout=30)
        ino = volume.submit_for_attr(Create(ROOT, b"f", volume.new_ino(), 0o100644, 0, 0)).ino
        stop = threading.Event()

        def cutter() -> None:
            while not stop.wait(random.uniform(0.01, 0.08)):
                wire.cut()

        thread = threading.Thread(target=cutter)
        thread.start()
        rounds = 0
        try:
            while rounds < 150 or wire.connections <= 5:
                number, rounds = rounds, rounds + 1
                data = b"%08d" % number

                pieces = volume.ingest.hash_pieces(0, memoryview(data), [len(data)])
                volume.ingest.commit_pieces(
                    pieces, lambda extents: (Append(ino, extents, 8),), durable=number % 10 == 0
                )
        finally:
            stop.set()
            thread.join()
        attr = volume.namespace.attr(ino)
        assert attr.size == 8 * rounds
        content = bytes(volume.reader(attr).read(0, attr.size))
        assert content == b"".join(b"%08d" % number for number in range(rounds))
        assert wire.connections > 5
        volume.close()
        connection.close()

    def test_blobs_are_whole_or_not_there(self, running: Daemon, wire: Wire) -> None:
        with Client(f"graviton://127.0.0.1:{wire.port}/main", timeout=30) as client:
            data = os.urandom(30 << 20)

            def cut_inside() -> Iterator[bytes]:
                yield data[: 10 << 20]
                wire.cut()
                yield data[10 << 20 :]

            with pytest.raises(Unavailable):
                client.blobs.put(cut_inside())
            wait_until(lambda: self.listed(client) == [], "a connection again")
            made = client.blobs.put(data)
            got = []
            for piece in client.blobs.stream(made.id):
                got.append(piece)
                if len(got) in (2, 15):
                    wire.cut()
            assert b"".join(got) == data  # it goes on where it was

    @staticmethod
    def listed(client: Client) -> list[str] | None:
        try:
            return [found.id for found in client.blobs.list()]
        except Unavailable:
            return None

    def test_blocks_are_read_through_cuts(self, running: Daemon, wire: Wire) -> None:
        with Client(f"graviton://127.0.0.1:{wire.port}/main", timeout=30) as client:
            data = os.urandom(40 << 20)
            client.write_bytes("f", data)
            with Client(f"graviton://127.0.0.1:{wire.port}/main", timeout=30) as reader:
                with reader.open_read("f") as file:
                    got = []
                    while piece := file.read(4 << 20):
                        got.append(piece)
                        wire.cut()
                assert b"".join(got) == data

    def test_a_silent_connection_is_given_up(self, running: Daemon, wire: Wire) -> None:
        """Nothing comes and nothing breaks: calls have a bound of their own."""
        connection = connected(wire.port)
        namespace = RemoteNamespace(connection, timeout=2.0)
        wire.hold()
        started = time.monotonic()
        with pytest.raises(Unavailable):
            namespace.lookup(ROOT, b"f")
        assert time.monotonic() - started < 6
        wire.release()
        wire.cut()
        assert namespace.lookup(ROOT, b"f") is None
        namespace.detach()
        connection.close()

    def test_another_address_is_tried(self, running: Daemon, wire: Wire) -> None:
        connection = Connection(Endpoint((f"127.0.0.1:{wire.port}", f"127.0.0.1:{running.port}")))
        namespace = RemoteNamespace(connection, timeout=10)
        wire.close()
        [reply] = namespace.apply([Batch(1, 1, (SetRecord("x", b"k", b"v"),))], durable=True)
        assert reply.failure is None
        assert namespace.records("x") == [(b"k", b"v")]
        namespace.detach()
        connection.close()

    def test_nothing_told_is_missed(self, running: Daemon, wire: Wire) -> None:
        """Changes are heard after a cut, each of them or that everything may have changed."""
        heard: list[Change] = []
        connection, direct = connected(wire.port), connected(running.port)
        listening = RemoteNamespace(connection, listener=heard.extend, timeout=30)
        other = RemoteNamespace(direct, timeout=30)
        inos = other.grant(60)
        for number in range(60):
            op = Create(ROOT, b"%d" % number, Ino(inos[number]), 0o100644, 0, 0)
            other.apply([Batch(number + 1, 1, (op,))], durable=False)
            if number % 10 == 0:
                wire.cut()

        def complete() -> bool:
            names = {change.name for change in list(heard) if change.name}
            return EVERYTHING in heard or len(names) == 60

        wait_until(complete, "every change to be heard")
        assert EVERYTHING not in heard
        running.restart()
        wait_until(lambda: EVERYTHING in heard, "to hear that everything may have changed")
        for namespace in (listening, other):
            namespace.detach()
        for one in (connection, direct):
            one.close()


class TestEndedSessions:
    def test_an_evicted_session_is_fenced_and_another_takes_over(self, running: Daemon) -> None:
        from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

        connection = connected(running.port)
        namespace = RemoteNamespace(connection, timeout=10)
        namespace.apply([Batch(1, 1, (SetRecord("x", b"k", b"1"),))], durable=False)
        before = namespace.session
        admin = "/graviton.v1.AdminService/"
        listed = connection.call(
            admin + "ListSessions", pb.ListSessionsRequest(volume="main"), pb.ListSessionsReply, timeout=5
        )
        [shown] = [one for one in listed.sessions if one.number == before]
        assert (shown.remote, shown.attached, shown.last_batch, shown.principal) == (
            True,
            True,
            1,
            "anonymous",
        )
        request = pb.EvictSessionRequest(number=before)
        connection.call(admin + "EvictSession", request, pb.EvictSessionReply, timeout=5)
        with pytest.raises(NotFound):
            connection.call(admin + "EvictSession", request, pb.EvictSessionReply, timeout=5)
        with pytest.raises(Fenced):
            namespace.apply([Batch(2, 1, (SetRecord("x", b"k", b"2", b"1"),))], durable=False)
        namespace.apply([Batch(2, 1, (SetRecord("x", b"k", b"2", b"1"),))], durable=True)
        namespace.apply([Batch(3, 1, (SetRecord("x", b"k", b"3", b"2"),))], durable=True)
        assert namespace.records("x") == [(b"k", b"3")]
        assert namespace.session != before
        heard: list[Change] = []
        listening = RemoteNamespace(connection, listener=heard.extend, timeout=10)
        request = pb.EvictSessionRequest(number=listening.session)
        connection.call(admin + "EvictSession", request, pb.EvictSessionReply, timeout=5)
        wait_until(lambda: EVERYTHING in heard, "to hear that everything may have changed")
        listening.detach()
        namespace.detach()
        connection.close()
