"""A mount with a journal that is dead or away keeps its session, and nobody waits for its volume."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gravitonfs.client import Client
from harness.programs import Graviton
from harness.proxy import TcpProxy
from harness.waiting import wait_until
from rpc.laptop import Laptop, Writer, kept, opened
from rpc.running import Daemon, daemon
from rpc.sole import Sole

__all__ = ["opened"]

pytestmark = pytest.mark.mount

LEASE = 6.0
"""Seconds of silence that end a session; the volume's lease lasts five sixths of it."""
AT_ONCE = 3.0


@pytest.fixture
def served(scratch: Path) -> Iterator[Daemon]:
    folder = scratch / "daemon"
    folder.mkdir()
    with daemon(scratch / "data", folder, LEASE) as running:
        yield running
        log = running.stop()
    assert [line for line in log.splitlines() if " ERROR " in line or "Traceback" in line] == []


@pytest.fixture
def proxy(served: Daemon) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", served.port) as made:
        yield made


@pytest.fixture
def laptop(graviton: Graviton, proxy: TcpProxy, scratch: Path) -> Laptop:
    return Laptop(graviton, proxy, scratch)


def journalled(graviton: Graviton, served: Daemon) -> list[dict[str, Any]]:
    source = f"graviton://127.0.0.1:{served.port}"
    found: list[dict[str, Any]] = json.loads(graviton.run("session", "list", source, "--json").stdout)
    return [one for one in found if one["label"].startswith("mount ")]


def synced_while_away(laptop: Laptop, opened: list[Writer]) -> bytes:
    """A file of which the journal alone has the last bytes; the mount is alone on its volume."""
    laptop.mount()
    (laptop.point / "f").write_bytes(b"old" * 1000)
    writer = Writer(laptop.point / "f")
    opened.append(writer)
    laptop.away()
    writer.write(30, b"new", 100)
    writer.sync()
    return b"old" * 10 + b"new" * 100 + b"old" * 890


@pytest.mark.parametrize("restarted", [False, True])
def test_a_killed_one_on_the_same_machine_lets_others_in_at_once(
    graviton: Graviton, served: Daemon, laptop: Laptop, opened: list[Writer], restarted: bool
) -> None:
    mixed = synced_while_away(laptop, opened)
    laptop.kill()
    opened.pop().end()
    if restarted:
        served.restart()
    started = time.monotonic()
    other = Sole(served.port, "other")
    assert time.monotonic() - started < AT_ONCE
    wait_until(other.holds, "the lease", 2 * LEASE)
    assert [one["attached"] for one in journalled(graviton, served)] == [False]
    laptop.back()
    laptop.mount()
    assert (laptop.point / "f").read_bytes() == mixed
    assert kept(laptop) == []
    assert other.recalls == 1
    assert not other.holds()
    laptop.unmount()
    other.close()
    assert laptop.segments() == []


def test_conflicts_go_where_they_are_found(
    graviton: Graviton, served: Daemon, laptop: Laptop, opened: list[Writer]
) -> None:
    graviton.allow_log("somebody else has changed the file")
    synced_while_away(laptop, opened)
    laptop.kill()
    opened.pop().end()
    wait_until(lambda: not journalled(graviton, served)[0]["attached"], "the session to be set aside", 30)
    with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as client:
        client.write_bytes("f", b"theirs")
    laptop.back()
    laptop.mount()
    assert (laptop.point / "f").read_bytes() == b"theirs"
    assert kept(laptop) == [bytes(30) + b"new" * 100]
    laptop.unmount()


def test_one_that_was_away_for_long_comes_back_by_the_door(
    graviton: Graviton, served: Daemon, laptop: Laptop, opened: list[Writer]
) -> None:
    """It lives, behind a wire that is cut: somebody else has the volume to himself meanwhile."""
    mixed = synced_while_away(laptop, opened)
    started = time.monotonic()
    other = Sole(served.port, "other")
    assert time.monotonic() - started < LEASE + AT_ONCE
    wait_until(other.holds, "the lease", 3 * LEASE)
    number = journalled(graviton, served)[0]["number"]
    assert other.recalls == 0
    laptop.back()
    opened[-1].end()
    with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as client:
        wait_until(lambda: client.read_bytes("f") == mixed, "the bytes to be stored", 60)
    assert other.recalls == 1
    assert [one["number"] for one in journalled(graviton, served)] == [number], "it is the same session"
    assert kept(laptop) == []
    laptop.unmount()
    other.close()
    assert laptop.segments() == []
