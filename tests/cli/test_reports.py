"""info, du, status, stats, profile, bench, warmup, passwd: what programs read from them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import Shell
from graviton_server.cli.opening import owner as owner_of
from graviton_server.control.requests import GetCounters
from harness.programs import Running, environment
from harness.waiting import wait_until


@pytest.fixture
def owner(volume: Shell) -> Iterator[Running]:
    running = volume.graviton.start("webdav", volume.data, "--listen", "127.0.0.1:0")
    running.ready_line()
    yield running
    assert running.stop() == 0


def fill(shell: Shell) -> None:
    shell.run("mkdir", shell.at("/t"))
    shell.write("/t/text", b"the same words over and over " * 20_000)
    shell.write("/t/random", random.Random(1).randbytes(1 << 20))
    shell.run("cp", shell.at("/t/random"), shell.at("/t/copy"))


def test_info_of_a_volume(reached: Shell) -> None:
    fill(reached)
    info = reached.json("info", str(reached.data))
    for key in ("logical_bytes", "unique_bytes", "stored_bytes", "inodes", "blocks", "packs", "extents"):
        assert isinstance(info[key], int), key
    assert info["logical_bytes"] == 2 * (1 << 20) + 29 * 20_000
    assert info["unique_bytes"] <= (1 << 20) + 29 * 20_000
    assert info["unique_bytes"] > 1 << 20
    assert info["stored_bytes"] < info["unique_bytes"]
    assert info["dedupe_ratio"] == pytest.approx(info["logical_bytes"] / info["unique_bytes"], abs=0.01)
    assert info["compression_ratio"] > 1
    assert info["inodes"] == 5
    shown = reached.run("info", str(reached.data))
    assert "dedupe ratio" in shown
    assert "MiB" in shown


def test_info_and_du_of_a_path(reached: Shell) -> None:
    fill(reached)
    info = reached.json("info", reached.at("/t"))
    assert info["files"] == 3
    assert info["directories"] == 1
    assert info["logical_bytes"] == 2 * (1 << 20) + 29 * 20_000
    one = reached.json("info", reached.at("/t/random"))
    assert one["unique_bytes"] == one["logical_bytes"] == 1 << 20
    assert one["blocks"] == one["extents"] >= 1
    assert 1 << 20 <= one["stored_bytes"] < (1 << 20) + (1 << 12)
    assert info["stored_bytes"] < info["unique_bytes"]
    (usage,) = reached.json("du", reached.at("/t"))
    assert usage["unique_bytes"] == info["unique_bytes"]
    assert str(usage["logical_bytes"]) in reached.run("du", "-b", reached.at("/t"))


def test_an_empty_volume(reached: Shell) -> None:
    info = reached.json("info", str(reached.data))
    assert (info["logical_bytes"], info["unique_bytes"], info["inodes"]) == (0, 0, 1)
    assert reached.json("ls", reached.at("/")) == []
    assert reached.json("du", reached.at("/"))[0]["files"] == 0


def test_status_names_the_process(volume: Shell, owner: Running) -> None:
    status = volume.json("status", str(volume.data))
    assert status["open"] is True
    assert status["pid"] == owner.pid
    assert status["role"] == "webdav"
    assert status["webdav"].startswith("http://127.0.0.1:")
    assert status["pending_bytes"] == 0
    assert status["mounts"] == []
    assert "stored_bytes" in status["info"]
    assert f"{owner.pid} (graviton webdav" in volume.run("status", str(volume.data))


def test_status_without_a_process(volume: Shell) -> None:
    assert volume.json("status", str(volume.data))["open"] is False
    assert "none has it open" in volume.run("status", str(volume.data))
    for command in ("stats", "profile"):
        assert "no process has" in volume.fails(command, str(volume.data))


def test_stats_are_rates(volume: Shell, owner: Running) -> None:
    lines = volume.run("stats", str(volume.data), "-n", "2", "-i", "0.1", "--json").splitlines()
    assert len(lines) == 2
    for line in lines:
        rates = json.loads(line)
        assert {
            "operations",
            "stored_bytes",
            "read_bytes",
            "dirty_bytes",
            "cached_bytes",
            "hit_ratio",
        } <= set(rates)
    shown = volume.run("stats", str(volume.data), "-n", "1", "-i", "0.1").splitlines()
    assert shown[0].split()[0] == "ops/s"
    assert len(shown) == 2


def test_ctrl_c_is_how_stats_end(volume: Shell, owner: Running) -> None:
    stats = volume.graviton.start("stats", volume.data, "-i", "0.1")
    wait_until(lambda: len(stats.output.read_text().splitlines()) > 2, "some lines")
    stats.process.send_signal(signal.SIGINT)
    assert stats.process.wait(30) == 0
    assert stats.log_text() == ""


def test_profile_counts_requests(volume: Shell, owner: Running) -> None:
    import urllib.request

    address = volume.json("status", str(volume.data))["webdav"]
    for _ in range(3):
        with urllib.request.urlopen(urllib.request.Request(address, method="OPTIONS")) as answer:
            answer.read()
    (entry,) = volume.json("profile", str(volume.data))
    assert (entry["front_end"], entry["name"], entry["count"]) == ("webdav", "OPTIONS", 3)
    assert entry["errors"] == 0
    assert entry["seconds"] > 0
    assert "webdav OPTIONS" in volume.run("profile", str(volume.data))
    assert volume.json("profile", str(volume.data), "-s", "0.1") == []


def test_warmup_reads_everything(reached: Shell) -> None:
    fill(reached)
    told = reached.json("warmup", reached.at("/t"))
    assert told["bytes"] == (1 << 20) + 29 * 20_000  # the copy is the same content
    assert "MiB read" in reached.run("warmup", reached.at("/t/random"))
    assert "does not exist" in reached.fails("warmup", reached.at("/missing"))


def test_bench_measures_any_directory(volume: Shell) -> None:
    where = volume.graviton.scratch / "where"
    where.mkdir()
    told = volume.json("bench", str(where), "--size", "2MiB", "--files", "20", "--ops", "20")
    works = [result["work"] for result in told["results"]]
    assert len(works) == len(set(works)) == 11
    for result in told["results"]:
        assert result["per_second"] > 0
        assert result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"] <= result["max_ms"]
    assert told["results"][0]["bytes"] == 2 << 20
    assert list(where.iterdir()) == []
    shown = volume.run("bench", str(where), "--size", "1MiB", "--files", "5", "--ops", "5")
    assert "sequential write + fsync" in shown
    assert "does not exist" in volume.fails("bench", "nowhere")
    assert "no directory" in volume.fails("bench", str(volume.data / "store"))


def test_passwd(volume: Shell) -> None:
    users = volume.graviton.scratch / "users"
    told = volume.result("passwd", str(users), "alice", stdin=b"secret\n")
    assert b"alice is added" in told.stderr
    assert volume.result("passwd", str(users), "alice", stdin=b"other\n").stderr.startswith(
        b"graviton: alice is changed"
    )
    text = users.read_text()
    assert text.startswith("alice:$argon2")
    assert "secret" not in text
    assert Path(users).stat().st_mode & 0o777 == 0o600
    assert "empty" in volume.fails("passwd", str(users), "bob", stdin=b"\n")
    assert "colon" in volume.fails("passwd", str(users), "a:b", stdin=b"x\n")
    volume.run("passwd", str(users), "alice", "--delete")
    assert "no user 'alice'" in volume.fails("passwd", str(users), "alice", "--delete")


def test_odd_names_in_json(volume: Shell) -> None:
    tree = volume.graviton.scratch / "tree"
    tree.mkdir()
    with open(bytes(tree) + b"/\xff\n\x01", "wb"):
        pass
    volume.run("put", "-r", str(tree), volume.at("/t"))
    (node,) = volume.json("ls", volume.at("/t"))
    assert node["name_base64"] == "/woB"
    assert volume.result("ls", volume.at("/t")).stdout == b"\xff\n\x01\n"


def test_after_warmup_reading_needs_no_target(volume: Shell, owner: Running) -> None:
    volume.write("/f", random.Random(4).randbytes(3 << 20))
    owner.stop()
    again = volume.graviton.start("webdav", volume.data, "--listen", "127.0.0.1:0")
    again.ready_line()
    volume.run("warmup", volume.at("/f"))
    assert read_so_far(volume) > 0
    before = read_so_far(volume)
    volume.read("/f")
    assert read_so_far(volume) == before
    assert again.stop() == 0


def read_so_far(shell: Shell) -> float:
    """Bytes that the owner has read from its target."""
    caller = owner_of(shell.data)
    assert caller is not None
    values = caller.call(GetCounters()).values
    caller.close()
    return values["read_bytes"]


def test_progress_is_shown_on_a_terminal_only(volume: Shell) -> None:
    """With rate and time left, on standard error; and taken away at the end."""
    (volume.graviton.scratch / "f").write_bytes(random.Random(6).randbytes(24 << 20))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "graviton_server", "put", "f", volume.at("/f"), "--json"]
    env = environment(TERM="xterm", COLUMNS="120")
    with subprocess.Popen(
        command, cwd=volume.graviton.scratch, env=env, stdout=subprocess.PIPE, stderr=theirs
    ) as put:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how the other side's end looks on a terminal
            while more := os.read(ours, 65536):
                shown += more
        os.close(ours)
        assert put.stdout is not None
        assert json.loads(put.stdout.read())["bytes"] == 24 << 20
    assert put.returncode == 0
    assert b"put" in shown
    assert re.search(rb"24\.\d|/s", shown)
    assert re.search(rb"\d:\d\d", shown)
    assert volume.result("put", "f", volume.at("/g")).stderr == b""
