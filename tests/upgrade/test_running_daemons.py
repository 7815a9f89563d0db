"""A newer graviton brings the database up to date while a daemon of this version runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from graviton_server.namespace.postgres import gates, schema
from gravitonfs.client import Client
from gravitonfs.core.releases import WRITTEN_BY, Format
from gravitonfs.errors import Unavailable
from harness.api import Api, address_in
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.waiting import wait_until


def a_later_step(connection: psycopg.Connection[Any]) -> None:
    """As a release to come may have it: what this one does not know."""
    connection.execute("ALTER TABLE names ADD COLUMN of_a_later_release bigint NOT NULL DEFAULT 1")


@pytest.fixture
def conninfo(postgres: PostgresServer) -> str:
    """Before ``graviton`` in a test's arguments: its processes end first."""
    return postgres.database()


@pytest.fixture
def serve(conninfo: str, graviton: Graviton, scratch: Path, postgres: PostgresServer) -> Callable[[], Any]:
    file = scratch / "graviton.conf"
    name = conninfo.rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{quote(str(postgres.home), safe='')}/{name}"
    file.write_text(
        f'graviton {{ auth.enabled = false, database {{ jdbc-url = "{url}", username = graviton }} }}'
    )

    def start() -> Any:
        return graviton.start(
            "serve", "--config", file, "--data", scratch / "data",
            "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
        )  # fmt: skip

    return start


def test_it_changes_nothing_any_more_and_says_why(
    conninfo: str, graviton: Graviton, serve: Callable[[], Any]
) -> None:
    graviton.allow_log("a newer graviton has brought the database")
    running = serve()
    ready = running.ready_line()
    with (
        closing(Api(address_in(ready))) as api,
        Client(f"graviton://{address_in(ready, 'grpc')}/main", timeout=3) as client,
    ):
        assert api("PUT", "/api/v1/files/before", b"before").status == 201
        client.write_bytes("/by-grpc", b"before")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            schema.migrate(connection, (*schema.STEPS, a_later_step))
            connection.execute("UPDATE meta SET data = '9.8.7' WHERE key = 'release'")
            names = connection.execute("SELECT name FROM names ORDER BY name").fetchall()

            answer = api("PUT", "/api/v1/files/after", b"after")
            assert "start the newer graviton in its place" in answer.problem(503, "unavailable")
            with pytest.raises(Unavailable):
                client.write_bytes("/after", b"after")
            assert connection.execute("SELECT name FROM names ORDER BY name").fetchall() == names
        ready_now = api("GET", "/health/ready")
        assert ready_now.status == 503, "a balancer goes elsewhere"
        assert "newer graviton" in ready_now.json["checks"]["database"]
        assert api("GET", "/api/v1/files/before").status == 503
    running.stop()

    again = serve()
    wait_until(lambda: again.process.poll() is not None, "it is refused")
    assert again.process.returncode == 1
    assert "schema 7, and this version knows up to 6" in again.log_text()
    assert "use graviton 9.8.7 or newer" in again.log_text()


def test_the_gate_is_that_of_the_newest_schema() -> None:
    assert gates.gate_of(schema.SCHEMA_VERSION) == gates.GATE
    assert len(WRITTEN_BY[Format.POSTGRES]) == schema.SCHEMA_VERSION
