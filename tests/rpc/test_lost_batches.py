"""Batches that a crash undid and that cannot be done again, and sessions that are waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graviton_server.wiring import EngineOptions, open_embedded
from gravitonfs.client import Client
from gravitonfs.client.remote_namespace import RemoteNamespace
from gravitonfs.client.volumes import RemoteVolume, open_volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Conflict, Exists, NotFound
from gravitonfs.journal.journal import Journal
from gravitonfs.ports.ops import Batch, Create, SetRecord
from harness.waiting import wait_until
from rpc.running import Daemon, Wire, untroubled
from rpc.serving import SETTINGS, connected, serving
from rpc.test_faults import connected as connected_to

ROOT = Ino(1)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Daemon]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with untroubled(tmp_path / "data", scratch) as started:
        yield started


def undone(running: Daemon, volume: RemoteVolume, wire: Wire) -> str:
    """The name of a file whose creation and bytes were answered, undone by a crash, and beaten by another
    file: a crash that came too late is tried again."""
    for attempt in range(20):
        name = f"f{attempt}"
        volume.commit()
        attr = volume.submit_for_attr(Create(ROOT, name.encode(), volume.new_ino(), 0o100644, 0, 0))
        writer = volume.writer(attr)
        writer.write(0, b"lost " * 1000)
        writer.flush()
        wire.hold()
        running.restart()
        with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=20) as client:
            try:
                client.write_bytes(name, b"theirs", absent=True)
            except (Conflict, Exists):
                wire.release()
                wire.cut()
                continue  # it was committed just in time
        wire.release()
        wire.cut()
        return name
    raise AssertionError("every crash came too late")


def test_a_batch_that_cannot_be_done_again_is_kept(running: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(running.port)
    connection = connected_to(wire.port)
    volume = open_volume(connection, timeout=30)
    name = undone(running, volume, wire)
    with Client(f"graviton://127.0.0.1:{running.port}/main", timeout=20) as client:

        def listed() -> list[str]:
            try:
                return sorted(entry.name for entry in client.list("/.graviton-lost"))
            except NotFound:
                return []

        wait_until(lambda: len(listed()) >= 3, "the lost batches to be kept", 60)
        files = {entry: client.read_bytes(f"/.graviton-lost/{entry}") for entry in listed()}
        told = [json.loads(data) for entry, data in files.items() if ".json" in entry]
        assert {op["op"] for one in told for op in one["ops"]} == {"Create", "Write"}
        assert [op["name"] for one in told for op in one["ops"] if op["op"] == "Create"] == [name]
        assert b"lost " * 1000 in files.values()
        assert client.read_bytes(name) == b"theirs"
    assert "cannot be done again" in caplog.text
    volume.close()
    connection.close()
    wire.close()


def test_a_session_with_a_journal_is_waited_for(tmp_path: Path) -> None:
    settings = replace(SETTINGS, lease=3.0)
    options = EngineOptions(memory=128 << 20, background=False)
    with open_embedded(tmp_path / "data", create=True, options=options) as engine:
        with serving(engine, settings) as server, connected(server) as connection:
            (tmp_path / "journal").mkdir()
            journal = Journal(tmp_path / "journal", source="")
            patient = RemoteNamespace(connection, journal=journal)
            patient.apply([Batch(1, 1, (SetRecord("x", b"k", b"1"),))], durable=True)
            plain = RemoteNamespace(connection)
            for one in (patient, plain):
                one.leave()

            def left() -> list[tuple[int, bool]]:
                return [(row.number, row.journals) for row in engine.namespace_store.sessions() if row.leased]

            assert left() == [(patient.session, True), (plain.session, False)]
            wait_until(lambda: left() == [(patient.session, True)], "the other one to end")
    with open_embedded(tmp_path / "data", options=options) as engine:
        with serving(engine, settings) as server, connected(server) as connection:
            other = RemoteNamespace(connection)
            other.leave()
            wait_until(lambda: len(engine.namespace_store.sessions()) == 1, "the other one to end")
            [row] = engine.namespace_store.sessions()
            assert (row.number, row.journals, row.last) == (patient.session, True, 1)
            engine.namespace_store.evict(row.number)
            assert engine.namespace_store.sessions() == []
