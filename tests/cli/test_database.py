"""``graviton serve`` and its database server: poolers, wrong passwords, servers that come late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from harness.api import Api, address_in
from harness.postgres import PgBouncer, PostgresServer, debian_binaries
from harness.programs import Graviton
from harness.waiting import wait_until

ANYWHERE = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    found = PostgresServer(debian_binaries())
    found.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    (hba,) = found.execute("SHOW hba_file")[0]
    file = Path(str(hba))
    file.write_text(f"local all locked scram-sha-256\n{file.read_text()}")
    found.execute("SELECT pg_reload_conf()")
    yield found
    found.close()


def jdbc(server: PostgresServer, name: str, port: int = 5432) -> str:
    return f"jdbc:postgresql://{quote(str(server.home), safe='')}:{port}/{name}"


def configuration(scratch: Path, *lines: str) -> Path:
    file = scratch / "graviton.conf"
    file.write_text("graviton { database {\n" + "\n".join(lines) + "\n} }\n")
    return file


def fails(graviton: Graviton, scratch: Path, *lines: str) -> str:
    """At once, with a sentence."""
    started = time.monotonic()
    done = graviton.run(
        "serve", "--config", configuration(scratch, *lines), "--data", scratch / "d", status=1
    )
    assert time.monotonic() - started < 40, "it waited for what would not come"
    return done.stderr.decode().strip().splitlines()[-1]


def test_a_wrong_password_is_told_at_once(server: PostgresServer, graviton: Graviton, scratch: Path) -> None:
    name = server.database().rpartition("dbname=")[2]
    url = f'jdbc-url = "{jdbc(server, name)}"'
    told = fails(graviton, scratch, url, "username = locked", "password = wrong-one")
    assert "authentication failed" in told
    assert "PG_PASSWORD" in told
    assert "wrong-one" not in told
    told = fails(graviton, scratch, url, "username = locked")
    assert "no password supplied" in told
    assert "does not exist" in fails(graviton, scratch, url, "username = nobody-here")


def test_an_unknown_database_is_told_at_once(
    server: PostgresServer, graviton: Graviton, scratch: Path
) -> None:
    told = fails(graviton, scratch, f'jdbc-url = "{jdbc(server, "no_such")}"', "username = graviton")
    assert 'database "no_such" does not exist' in told
    assert "create the database" in told


def test_a_server_that_comes_late_is_waited_for(
    server: PostgresServer, graviton: Graviton, scratch: Path
) -> None:
    """As when both are started together; meanwhile it is said what is waited for."""
    graviton.allow_log("database server does not answer")
    name = server.database().rpartition("dbname=")[2]
    server.stop()
    file = configuration(scratch, f'jdbc-url = "{jdbc(server, name)}"', "username = graviton")
    running = graviton.start("serve", "--config", file, "--data", scratch / "d", *ANYWHERE)
    wait_until(lambda: "trying again" in running.log_text(), "the daemon says that it waits", 60)
    server.start()
    assert address_in(running.ready_line())
    assert running.stop() == 0


def test_through_a_pooler_in_transaction_mode(
    server: PostgresServer, graviton: Graviton, scratch: Path
) -> None:
    """Two daemons with few connections; they hear of each other's changes past the pooler."""
    pooler = PgBouncer(server)
    name = server.database().rpartition("dbname=")[2]
    file = configuration(
        scratch,
        f'jdbc-url = "{jdbc(server, name, 6432)}"',
        f'listen-jdbc-url = "{jdbc(server, name)}"',
        "username = graviton",
        "pool-size = 4",
    )
    daemons = [
        graviton.start(
            "serve",
            "--config",
            file,
            "--data",
            scratch / "d",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
        )
        for _ in range(2)
    ]
    one, two = (Api(address_in(running.ready_line())) for running in daemons)
    for number in range(20):
        body = b"%d" % number * 100_000
        assert one("PUT", "/api/v1/files/f", body).status in (200, 201)
        assert two("GET", "/api/v1/files/f").body == body
    listening = server.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name LIKE '%listen'"
    )
    assert listening == [(2,)], "each daemon listens on a connection of its own"
    one.close()
    two.close()
    assert [running.stop() for running in daemons] == [0, 0]
    pooler.close()


def test_both_urls_are_checked(graviton: Graviton, scratch: Path) -> None:
    file = configuration(scratch, 'listen-jdbc-url = "jdbc:mysql://x/y"', 'jdbc-url = "x"')
    told = graviton.run("config", "check", file, status=1).stderr.decode()
    assert "graviton.database.listen-jdbc-url" in told
    assert "graviton.database.jdbc-url" in told
