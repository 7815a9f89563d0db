"""graviton dump --keep, --list, --drop: dumps that stay with a volume, and what they hold back."""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import sys
from pathlib import Path

from cli.conftest import Shell
from harness.buckets import CREDENTIALS, new_bucket
from harness.postgres import PostgresServer
from harness.programs import Graviton, environment
from harness.s3server import S3Server

MIB = 1 << 20


def noise(seed: int, size: int = 4 * MIB) -> bytes:
    return random.Random(seed).randbytes(size)


def stored(shell: Shell) -> int:
    found: int = shell.json("info", str(shell.data))["stored_bytes"]
    return found


def test_a_kept_dump_holds_back_what_it_names_until_it_is_dropped(reached: Shell) -> None:
    data = str(reached.data)
    assert reached.json("dump", "--list", data) == []
    reached.write("/kept", noise(1))
    made = reached.json("dump", "--keep", "before", data)
    assert made["name"] == "before"
    assert made["bytes"] == (reached.data / "dumps" / "before.dump").stat().st_size
    reached.write("/passing", noise(2))
    reached.run("rm", reached.at("/kept"))
    reached.run("rm", reached.at("/passing"))
    reached.run("gc", data)
    assert 4 * MIB <= stored(reached) < 5 * MIB

    [listed] = reached.json("dump", "--list", data)
    assert (listed["name"], listed["here"], listed["bytes"]) == ("before", True, made["bytes"])
    assert listed["made"] > 0
    assert "before" in reached.run("dump", "--list", data)

    would = reached.json("dump", "--drop", "before", "--dry-run", data)
    assert would["dry_run"] is True
    assert 4 * MIB <= would["freed_bytes"] < 5 * MIB
    assert would["packs"] >= 1
    assert [one["name"] for one in reached.json("dump", "--list", data)] == ["before"]

    dropped = reached.json("dump", "--drop", "before", "--yes", data)
    assert (dropped["freed_bytes"], dropped["packs"]) == (would["freed_bytes"], would["packs"])
    assert reached.json("dump", "--list", data) == []
    before = stored(reached)
    reached.run("gc", data)
    assert before - stored(reached) >= 4 * MIB


def test_what_files_need_is_not_told_as_freed(reached: Shell) -> None:
    data = str(reached.data)
    reached.write("/a", noise(1))
    reached.run("dump", "--keep", "one", data)
    reached.run("dump", "--keep", "two", data)
    assert reached.json("dump", "--drop", "one", "-n", data)["freed_bytes"] == 0
    reached.run("rm", reached.at("/a"))
    assert reached.json("dump", "--drop", "one", "-n", data)["freed_bytes"] == 0, "the other needs it too"
    assert "4.0 MiB" not in reached.run("dump", "--drop", "one", "--yes", data)
    assert reached.json("dump", "--drop", "two", "-n", data)["freed_bytes"] >= 4 * MIB
    reached.run("gc", data)
    assert stored(reached) >= 4 * MIB


def test_wrong_usage_and_names(reached: Shell) -> None:
    data = str(reached.data)
    reached.run("dump", "--keep", "a", data)
    assert "there is a dump 'a' already" in reached.fails("dump", "--keep", "a", data)
    for name in ("../a", "a/b", "", ".a", "a" * 101):
        assert "is no name for a dump" in reached.fails("dump", "--keep", name, data)
        assert "is no name for a dump" in reached.fails("dump", "--drop", name, "-y", data)
    assert "there is no kept dump 'b'" in reached.fails("dump", "--drop", "b", "--yes", data)
    assert "there is no kept dump 'a'" in reached.fails("dump", "--drop", "a", "--owner", "x", "-y", data)
    assert "there is nobody to ask" in reached.fails("dump", "--drop", "a", data, status=2)
    assert "stands alone" in reached.fails("dump", "--list", "--drop", "a", data, status=2)
    assert "stands alone" in reached.fails("dump", "--list", data, "file", status=2)
    assert "go with --drop" in reached.fails("dump", "--yes", data, status=2)
    assert [one["name"] for one in reached.json("dump", "--list", data)] == ["a"]


def test_whoever_drops_one_is_asked(volume: Shell) -> None:
    volume.write("/f", noise(1))
    volume.run("dump", "--keep", "a", str(volume.data))
    for answer, left in ((b"n\n", ["a"]), (b"y\n", [])):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        command = [sys.executable, "-m", "graviton_server", "dump", "--drop", "a", str(volume.data)]
        done = subprocess.run(
            command, stdin=theirs, capture_output=True, env=environment(), timeout=60, check=False
        )
        os.close(theirs)
        os.close(ours)
        assert b"would be freed" in done.stderr
        assert done.returncode == (0 if left == [] else 1), done.stderr
        assert [one["name"] for one in volume.json("dump", "--list", str(volume.data))] == left


def test_through_daemons_on_postgresql_and_s3(
    graviton: Graviton, scratch: Path, postgres: PostgresServer, s3_server: S3Server
) -> None:
    """Each keeps its own; each knows of the other's, and may drop it."""
    name = postgres.database().rpartition("dbname=")[2]
    url = f"jdbc:postgresql://{str(postgres.home).replace('/', '%2F')}/{name}"
    file = scratch / "store.conf"
    bucket = f'bucket = {new_bucket(s3_server)}, endpoint = "{s3_server.endpoint}"'
    file.write_text(
        f"""graviton {{ database {{ jdbc-url = "{url}", username = graviton }}
        gc {{ grace = 0s, interval = 1h }}, storage {{ backend = s3, s3 {{ {bucket} }} }} }}"""
    )
    ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    homes = [scratch / "one", scratch / "two"]
    running = [
        graviton.start("serve", "--config", file, "--data", home, *ports, **CREDENTIALS) for home in homes
    ]
    for one in running:
        one.ready_line()

    def told(*arguments: str | Path) -> list[dict[str, object]] | dict[str, object]:
        found: list[dict[str, object]] | dict[str, object] = json.loads(
            graviton.run(*arguments, "--json").stdout
        )
        return found

    graviton.run("put", "-", f"{homes[0]}:/f", stdin=noise(1))
    graviton.run("dump", "--keep", "a", homes[0])
    graviton.run("dump", "--keep", "a", homes[1])
    graviton.run("rm", f"{homes[1]}:/f")
    listed = told("dump", "--list", homes[1])
    assert isinstance(listed, list)
    assert [one["here"] for one in listed] == [True, False]
    assert all(isinstance(size := one["pack_bytes"], int) and size >= 4 * MIB for one in listed)
    several = graviton.run("dump", "--drop", "a", "--yes", homes[1], status=1)
    assert b"say whose with --owner" in several.stderr
    first = told("dump", "--drop", "a", "--yes", "--owner", str(listed[1]["owner"]), homes[1])
    second = told("dump", "--drop", "a", "--yes", homes[1])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["freed_bytes"] == 0, "the other one needs it, too"
    assert isinstance(second["freed_bytes"], int)
    assert second["freed_bytes"] >= 4 * MIB
    left = told("dump", "--list", homes[1])
    assert left == []
    for one in running:
        assert one.stop() == 0
