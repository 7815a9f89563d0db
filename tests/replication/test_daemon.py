"""``graviton serve`` with packs on directories and a bucket: kills, losses, targets that come and go."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.test_backends import Daemon, address
from harness.buckets import client, new_bucket
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until

MIB = 1 << 20
MISSING = r"is lost: it will be made anew|is damaged: it will be made anew"


def configure(scratch: Path, text: str) -> Path:
    file = scratch / "graviton.conf"
    file.write_text(f"graviton {{ auth.enabled = false\n{text}\n}}\n")
    return file


def directories(scratch: Path, *names: str) -> str:
    return "\n".join(
        f'{{ name = {name}, kind = directory, zone = zone-{name}, path = "{scratch / name}" }}'
        for name in names
    )


def targets(graviton: Graviton, data: Path) -> dict[str, dict[str, Any]]:
    found = json.loads(graviton.run("target", "list", data, "--json").stdout)
    return {one["name"]: one for one in found}


def packs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pack"))


def clean(graviton: Graviton, data: Path) -> None:
    found = json.loads(graviton.run("fsck", "--read-data", "--json", data).stdout)
    assert not found["findings"]


def test_directories_and_a_bucket_survive_kill(
    graviton: Graviton, scratch: Path, s3_server: S3Server
) -> None:
    """Killed in the middle of writing to two directories and a real bucket; then one directory is emptied."""
    bucket = new_bucket(s3_server)
    data = scratch / "data"
    entries = directories(scratch, "one") + (
        f'\n{{ name = cloud, kind = s3, zone = far, bucket = "{bucket}", endpoint = "{s3_server.endpoint}",'
        " copies = 1, zones = 1 }"
    )
    file = configure(
        scratch,
        f"storage.targets = [{entries}]\nreplication {{ factor = 2, min-zones = 2, repair.interval = 1s }}",
    )
    daemon = Daemon(graviton, file, data)
    acknowledged: dict[str, bytes] = {}
    for round_ in range(3):
        for at in range(3):
            name, body = f"{round_}-{at}", os.urandom(6 * MIB)
            daemon.put(name, body)
            acknowledged[name] = body
        half = urllib.request.Request(
            f"{address(daemon.ready, 'http')}/api/v1/files/unfinished", os.urandom(16 * MIB), method="PUT"
        )
        sending = _in_background(lambda half=half: urllib.request.urlopen(half, timeout=60).close())
        before = len(packs(data))
        wait_until(
            lambda before=before, sending=sending: len(packs(data)) > before or sending.done(), "packs"
        )
        daemon.running.kill()
        sending.exception(60)
        daemon.restart()
        assert {name: daemon.get(name) for name in acknowledged} == acknowledged
    objects = client(s3_server.endpoint).list_objects_v2(Bucket=bucket, Prefix="packs/").get("Contents", [])
    assert objects
    assert packs(scratch / "one")
    assert packs(data)
    shutil.rmtree(scratch / "one" / "packs")
    graviton.allow_log(MISSING)
    graviton.run("scrub", data, status=3)
    wait_until(lambda: healthy(targets(graviton, data)), "repair", 60)
    assert {name: daemon.get(name) for name in acknowledged} == acknowledged
    clean(graviton, data)
    daemon.running.stop()


def _in_background(call: Callable[[], None]) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def healthy(found: dict[str, dict[str, Any]]) -> bool:
    return not any(one["missing"] + one["bad"] + one["moving"] + one["leaving"] for one in found.values())


def on_two(scratch: Path) -> Path:
    """Two copies in two zones: the data directory and another one."""
    return configure(
        scratch,
        f"storage.targets = [{directories(scratch, 'one')}]\n"
        "replication { factor = 2, min-zones = 2, repair.interval = 1s }",
    )


def test_targets_are_added_drained_and_removed_under_way(graviton: Graviton, scratch: Path) -> None:
    data = scratch / "data"
    file = on_two(scratch)
    daemon = Daemon(graviton, file, data)
    bodies = {f"{at}": os.urandom(5 * MIB) for at in range(8)}
    for name, body in bodies.items():
        daemon.put(name, body)
    refused = graviton.run("target", "drain", data, "one", status=1)
    assert b"1 copies in 1 zones" in refused.stderr
    graviton.run(
        "target", "add", data, "two", "--path", scratch / "two", "--zone", "zone-two", "--weight", "3"
    )
    graviton.run("target", "add", data, "again", "--path", scratch / "two", status=1)
    wait_until(lambda: targets(graviton, data)["two"]["packs"] and healthy(targets(graviton, data)), "share")
    assert packs(scratch / "two")
    graviton.run("target", "drain", data, "one")
    wait_until(lambda: not packs(scratch / "one") and healthy(targets(graviton, data)), "draining")
    removed = json.loads(graviton.run("target", "remove", data, "one", "--json").stdout)
    assert removed["state"] == "removed"
    shutil.rmtree(scratch / "one")
    status = json.loads(graviton.run("status", data, "--json").stdout)
    assert status["replication"]["unhealthy"] == 0
    assert {one["name"] for one in status["targets"]} == {"local", "one", "two"}
    with urllib.request.urlopen(f"{address(daemon.ready, 'http')}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert re.search(r'^graviton_storage_bytes\{target="two"\} [1-9]', text, re.MULTILINE)
    assert re.search(r"^graviton_replicas_unhealthy 0", text, re.MULTILINE)
    daemon.running.stop()
    daemon.restart()  # its configuration names the one that was removed
    assert {name: daemon.get(name) for name in bodies} == bodies
    assert targets(graviton, data)["one"]["state"] == "removed"
    clean(graviton, data)
    daemon.running.stop()
    clean(graviton, data)  # without a daemon, by what the database says


def test_a_daemon_starts_without_one_of_its_targets(graviton: Graviton, scratch: Path) -> None:
    """Its files can be read, writes wait until enough targets are there, and then it goes on by itself."""
    data = scratch / "data"
    file = on_two(scratch)
    daemon = Daemon(graviton, file, data)
    body = os.urandom(6 * MIB)
    daemon.put("file", body)
    daemon.running.stop()
    (scratch / "one").rename(scratch / "away")
    graviton.allow_log(r"the target one fails")
    daemon.restart()
    assert daemon.get("file") == body
    http = address(daemon.ready, "http")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"{http}/health/ready", timeout=30)
    found = targets(graviton, data)["one"]
    assert "is no target of a store" in found["trouble"]
    clean_but_for(graviton, data, "one")
    (scratch / "away").rename(scratch / "one")
    wait_until(lambda: targets(graviton, data)["one"]["in_use"], "the target")
    daemon.put("more", body[::-1])
    assert daemon.get("more") == body[::-1]
    clean(graviton, data)
    daemon.running.stop()


def clean_but_for(graviton: Graviton, data: Path, name: str) -> None:
    found = json.loads(graviton.run("fsck", "--json", data, status=3).stdout)
    assert [finding["kind"] for finding in found["findings"]] == ["copy-damaged"]
    assert f"the target {name}: it cannot be listed now" in found["findings"][0]["what"]


def test_how_targets_are_chosen(graviton: Graviton, scratch: Path) -> None:
    """Two in one zone and one elsewhere: with zone-aware, or min-zones 2, every pack is elsewhere, too."""
    for number, (strategy, zones) in enumerate((("zone-aware", 1), ("simple", 2), ("simple", 1))):
        home = scratch / f"{number}"
        home.mkdir()
        entries = directories(home, "far") + f'\n{{ name = near, kind = directory, path = "{home}/near" }}'
        file = configure(
            home,
            f"storage.targets = [{entries}]\n"
            f"replication {{ factor = 2, min-zones = {zones}, strategy = {strategy} }}",
        )
        daemon = Daemon(graviton, file, home / "data")
        for at in range(12):
            daemon.put(f"{at}", os.urandom(MIB + MIB // 2))
        count = len({path.name for path in packs(home)})
        assert len(packs(home)) == 2 * count
        if (strategy, zones) == ("simple", 1):
            assert len(packs(home / "far")) < count
        else:
            assert len(packs(home / "far")) == count
        daemon.running.stop()


@pytest.mark.parametrize("enabled", [True, False])
def test_repair_is_done_when_it_is_asked_for(graviton: Graviton, scratch: Path, enabled: bool) -> None:
    data = scratch / "data"
    file = configure(
        scratch,
        f"storage.targets = [{directories(scratch, 'one')}]\n"
        "replication { factor = 2, min-zones = 2\n"
        f"repair {{ enabled = {str(enabled).lower()}, interval = 1s }} }}",
    )
    daemon = Daemon(graviton, file, data)
    daemon.put("file", os.urandom(6 * MIB))
    [*lost] = packs(scratch / "one")
    for path in lost:
        path.unlink()
    graviton.allow_log(MISSING)
    graviton.run("scrub", data, status=3)
    if enabled:
        wait_until(lambda: packs(scratch / "one") == lost, "repair")
    else:
        assert targets(graviton, data)["one"]["missing"] == len(lost)
        assert not packs(scratch / "one")
    daemon.running.stop()


def test_targets_over_http(graviton: Graviton, scratch: Path) -> None:
    data = scratch / "data"
    file = configure(
        scratch,
        f"storage.targets = [{directories(scratch, 'one', 'two')}]\n"
        "replication { factor = 2, min-zones = 2, repair.interval = 1s }",
    )
    daemon = Daemon(graviton, file, data)
    body = os.urandom(3 * MIB)
    daemon.put("file", body)
    where = "/api/v1/admin/targets"

    def told() -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in daemon.send("GET", where, b"", {})["targets"]}

    def refused(name: str, change: dict[str, Any]) -> int:
        with pytest.raises(urllib.error.HTTPError) as error:
            daemon.send("PATCH", f"{where}/{name}", json.dumps(change).encode(), {})
        error.value.close()
        return error.value.code

    assert {"one", "two"} <= told().keys()
    assert sum(one["packs"] for one in told().values()) > 0
    changed = daemon.send("PATCH", f"{where}/two", b'{"capacity": 1000000000, "weight": 2}', {})
    assert (changed["capacity"], changed["weight"], changed["state"]) == (10**9, 2.0, "active")
    assert refused("none", {}) == 404
    assert refused("two", {"weight": -1}) == 400
    assert refused("two", {"path": "/elsewhere"}) == 400
    assert refused("two", {"state": "removed"}) == 423
    daemon.send("PATCH", f"{where}/two", b'{"state": "draining"}', {})
    wait_until(lambda: not told()["two"]["packs"] + told()["two"]["leaving"], "two to be empty", 60)
    daemon.send("PATCH", f"{where}/two", b'{"state": "removed"}', {})
    assert targets(graviton, data)["two"]["state"] == "removed"
    assert daemon.get("file") == body
    daemon.running.stop()
