"""A router and its shards as processes: written, lost, added to, emptied, mixed up."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.buckets import client, new_bucket
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until
from sharding.cluster import MIB, TROUBLE, Router, ShardDaemon, in_database, postgres_lines


@pytest.fixture
def names(postgres: PostgresServer) -> str:
    """Before ``graviton`` in a test's arguments: its processes end first."""
    return postgres_lines(postgres)


class Writer:
    """See ``writer.py``."""

    def __init__(self, scratch: Path, folder: Path, size: int) -> None:
        self._said = scratch / "writer.out"
        self._stop = scratch / "writer.stop"
        command = [sys.executable, Path(__file__).with_name("writer.py"), folder, str(size), self._stop]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(command, stdout=said)

    def _lines(self, kind: str) -> dict[str, str]:
        lines = self._said.read_text().splitlines(keepends=True)
        words = [line.split(maxsplit=2) for line in lines if line.endswith("\n")]
        return {name: rest for what, name, rest in words if what == kind}

    @property
    def stored(self) -> dict[str, str]:
        return {name: digest.strip() for name, digest in self._lines("stored").items()}

    @property
    def failed(self) -> dict[str, str]:
        return self._lines("failed")

    def wait(self, count: int) -> None:
        aim = len(self.stored) + count
        wait_until(lambda: len(self.stored) >= aim or self.failed, "the writer goes on", 100)
        assert not self.failed

    def stop(self) -> dict[str, str]:
        self._stop.touch()
        assert self._process.wait(100) == 0
        assert not self.failed
        return self.stored


def read_all(folder: Path, names: Iterator[str] | list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.timeout(300)
def test_from_two_to_three_shards_under_load(names: str, graviton: Graviton, scratch: Path) -> None:
    """The router is killed while packs move, and a shard while it takes them; nothing is lost, and only the
    third one's share moves."""
    graviton.allow_log(TROUBLE)
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2", "s3")]
    one, two, three = shards
    slow = "replication.move-bytes-per-second = 4MB"
    router = Router(graviton, scratch, [one.entry(), two.entry()], names, slow)
    point = scratch / "mnt"
    mount = router.mount(point)
    writer = Writer(scratch, point, 3 * MIB // 2)
    writer.wait(30)
    before = {name: shard.packs() for name, shard in (("s1", one), ("s2", two))}
    assert all(len(found) > 5 for found in before.values())
    assert not three.packs()
    router.configure([shard.entry() for shard in shards])
    router.running.kill()
    router.restart()
    router.running.ready_line()
    wait_until(lambda: len(three.packs()) > 2, "packs to move", 60)
    router.running.kill()
    router.restart()
    router.running.ready_line()
    writer.wait(3)
    three.running.kill()
    writer.wait(3)
    three.start()
    writer.wait(10)
    stored = writer.stop()
    in_database(names, "UPDATE replicas SET due = 0")  # as if ten minutes had passed since the kill
    wait_until(router.settled, "everything is where it belongs", 150)
    assert len(three.packs()) > 5
    for name, shard in (("s1", one), ("s2", two)):
        others = {other for other in before if other != name}
        assert not any(
            pack in shard.packs() for other in others for pack in before[other]
        )  # stayed or went to s3
    moved = [pack for found in before.values() for pack in found if pack in three.packs()]
    assert 0 < len(moved) < 0.6 * sum(map(len, before.values()))
    graviton.unmount(mount, point)
    again = router.mount(point)
    assert read_all(point, list(stored)) == stored
    graviton.unmount(again, point)
    router.clean()
    for shard in shards:
        found = json.loads(graviton.run("fsck", "--read-data", "--json", shard.data).stdout)
        assert not found["findings"]
    assert router.running.stop() == 0


@pytest.mark.parametrize("how", ["freeze", pytest.param("kill", marks=pytest.mark.soak)])
def test_a_shard_out_of_reach_fails_only_its_blocks(graviton: Graviton, scratch: Path, how: str) -> None:
    graviton.allow_log(TROUBLE)
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    one, two = shards
    router = Router(graviton, scratch, [shard.entry() for shard in shards])
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(10)}
    for name, body in bodies.items():
        router.put(name, body)
    assert one.packs()
    assert two.packs()
    router.running.stop()
    router.restart()  # what it has in memory would be read
    mount = router.mount(scratch / "mnt", "timeout=1")
    (one.running.kill if how == "kill" else one.freeze)()
    outcome = {name: read(scratch / "mnt" / name) for name in bodies}
    assert all(found in (bodies[name], errno.EIO) for name, found in outcome.items())
    assert list(outcome.values()).count(errno.EIO) == len(one.packs())
    assert "the shard s1 (graviton://" in router.targets()["s1"]["trouble"]
    assert router.health() == 200
    for at in range(4):
        bodies[f"more{at}"] = os.urandom(3 * MIB // 2)
        router.put(f"more{at}", bodies[f"more{at}"])  # goes where it can
    (one.start if how == "kill" else one.thaw)()
    for name, body in bodies.items():
        wait_until(lambda name=name, body=body: read(scratch / "mnt" / name) == body, "it is back", 60)
    wait_until(router.settled, "what went elsewhere to be where it belongs", 60)
    graviton.unmount(mount, scratch / "mnt")
    router.clean()
    router.running.stop()


def test_nothing_is_acknowledged_while_no_shard_answers(graviton: Graviton, scratch: Path) -> None:
    graviton.allow_log(TROUBLE)
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    router = Router(graviton, scratch, [shard.entry() for shard in shards])
    router.put("before", b"b" * 3 * MIB)
    mount = router.mount(scratch / "mnt")
    for shard in shards:
        shard.running.kill()
    writer = Writer(scratch, scratch / "mnt", 3 * MIB // 2)
    wait_until(lambda: router.health() == 503, "the router to say that it cannot write", 60)
    assert not writer.stored
    assert not writer.failed
    for shard in shards:
        shard.start()
    writer.wait(3)
    assert router.health() == 200
    stored = writer.stop()
    graviton.unmount(mount, scratch / "mnt")
    mount = router.mount(scratch / "mnt")
    assert read_all(scratch / "mnt", list(stored)) == stored
    graviton.unmount(mount, scratch / "mnt")
    router.clean()
    router.running.stop()


def read(path: Path) -> bytes | int | None:
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno


def read_whole(router: Router, name: str) -> bytes | None:
    import http.client

    try:
        return router.get(name)
    except (OSError, http.client.HTTPException):
        return None


def test_collection_and_compaction_free_shards(names: str, graviton: Graviton, scratch: Path) -> None:
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    router = Router(graviton, scratch, [shard.entry() for shard in shards], names, "gc.grace = 0s")
    point = scratch / "mnt"
    mount = router.mount(point)
    kept = {}
    for at in range(12):
        body = os.urandom(3 * MIB)
        (point / f"f{at}").write_bytes(body)
        if at % 4 == 0:
            kept[f"f{at}"] = body
    os.sync()
    graviton.unmount(mount, point)
    before = sum(sum(shard.packs().values()) for shard in shards)
    assert before > 36 * MIB
    mount = router.mount(point)
    for at in range(12):
        if at % 4:
            (point / f"f{at}").unlink()
    graviton.unmount(mount, point)
    refused = graviton.run("gc", shards[0].data, status=1)
    assert b"is a shard" in refused.stderr
    assert json.loads(graviton.run("status", "--json", shards[0].data).stdout)["shard"] == "s1"
    assert b"s1, of another store" in graviton.run("status", shards[0].data).stdout
    past = "relied = relied - 4000000000000, created = created - 4000000000000"
    in_database(names, f"UPDATE packs SET {past}")  # as if they had last been relied on long ago
    graviton.run("gc", router.data)

    def freed() -> bool:
        return sum(sum(shard.packs().values()) for shard in shards) < 14 * MIB

    wait_until(freed, "the shards are freed", 60)
    assert {name: router.get(name) for name in kept} == kept
    router.clean()
    for shard in shards:
        assert not json.loads(graviton.run("fsck", "--json", shard.data).stdout)["findings"]
    router.running.stop()


def test_a_shard_is_emptied_and_let_go(graviton: Graviton, scratch: Path) -> None:
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    one, two = shards
    router = Router(graviton, scratch, [shard.entry() for shard in shards])
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(12)}
    for name, body in bodies.items():
        router.put(name, body)
    assert one.packs()
    graviton.run("target", "drain", router.data, "s1")
    wait_until(lambda: not one.packs() and router.settled(), "it is empty", 60)
    graviton.run("target", "remove", router.data, "s1")
    assert one.running.stop() == 0
    assert {name: router.get(name) for name in bodies} == bodies
    router.configure([two.entry()])
    router.running.stop()
    router.restart()
    assert {name: router.get(name) for name in bodies} == bodies
    router.clean()
    assert router.metric("storage_bytes", '{target="s2"}') > 18 * MIB
    router.running.stop()


def test_a_shard_is_added_by_a_command(graviton: Graviton, scratch: Path) -> None:
    one, two = (ShardDaemon(graviton, scratch, name) for name in ("s1", "s2"))
    router = Router(graviton, scratch, [one.entry()])
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(12)}
    for name, body in bodies.items():
        router.put(name, body)
    added = graviton.run("target", "add", router.data, "s2", "--shard", f"graviton://127.0.0.1:{two.port}")
    assert b"s2 is a target" in added.stderr
    wait_until(lambda: two.packs() and router.settled(), "its share moves", 60)
    assert {name: router.get(name) for name in bodies} == bodies
    shown = router.targets()["s2"]
    assert (shown["kind"], shown["location"]) == ("shard", f"graviton://127.0.0.1:{two.port}")
    router.clean()
    router.running.stop()


@pytest.mark.soak
def test_shards_that_are_mixed_up_or_empty_are_refused(graviton: Graviton, scratch: Path) -> None:
    graviton.allow_log(r"the target s\d fails|no copy of|is the shard|nobody's shard|loses|have to be")
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    one, two = shards
    router = Router(graviton, scratch, [shard.entry() for shard in shards])
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(8)}
    for name, body in bodies.items():
        router.put(name, body)
    router.running.stop()
    one.port, two.port = two.port, one.port
    router.configure([shard.entry() for shard in shards])
    router.restart()
    for name, found in router.targets().items():
        assert f"not '{name}' of" in found["trouble"]
    assert router.health() == 503
    router.running.stop()
    one.port, two.port = two.port, one.port
    fresh = ShardDaemon(graviton, scratch, "s3")
    router.configure([one.entry(), two.entry().replace(str(two.port), str(fresh.port))])
    router.restart()
    assert "nobody's shard" in router.targets()["s2"]["trouble"]
    assert not fresh.packs()
    router.running.stop()
    router.configure([shard.entry() for shard in shards])
    router.restart()
    assert {name: router.get(name) for name in bodies} == bodies
    router.clean()
    router.running.stop()
    refused = graviton.run("serve", "--data", router.data, "--grpc", "127.0.0.1:0", status=1)
    assert b"no packs" in refused.stderr


@pytest.mark.soak
def test_two_routers_are_one_store(names: str, graviton: Graviton, scratch: Path) -> None:
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    entries = [shard.entry() for shard in shards]
    first = Router(graviton, scratch, entries, names)
    second = Router(graviton, scratch, entries, names, name="other")
    bodies = {f"f{at}": os.urandom(2 * MIB) for at in range(8)}
    for at, (name, body) in enumerate(bodies.items()):
        (first, second)[at % 2].put(name, body)
    first.running.kill()
    assert {name: second.get(name) for name in bodies} == bodies
    before = sum(sum(shard.packs().values()) for shard in shards)
    second.put("again", bodies["f0"])
    second.put("again", bodies["f1"])
    assert sum(sum(shard.packs().values()) for shard in shards) == before
    first.restart()
    assert {name: first.get(name) for name in bodies} == bodies
    first.clean()
    first.running.stop()
    second.running.stop()


@pytest.mark.soak
def test_the_routers_token_and_shards_on_buckets(
    graviton: Graviton, scratch: Path, s3_server: S3Server
) -> None:
    """The guide's third topology: a bucket behind each shard. Shards ask for a token."""
    graviton.allow_log(r"refuses this router's token|the target s\d fails|no copy of")
    buckets = [new_bucket(s3_server) for _ in range(2)]
    shards = []
    for name, bucket in zip(("s1", "s2"), buckets, strict=True):
        backend = f'storage {{ backend = s3, s3 {{ bucket = {bucket}, endpoint = "{s3_server.endpoint}" }} }}'
        shards.append(ShardDaemon(graviton, scratch, name, backend, "auth.enabled = true"))
    entries = []
    for shard in shards:
        made = graviton.run("token", "create", shard.data, "--name", "router", "--scope", "admin", "--json")
        token = scratch / f"{shard.name}.token"
        token.write_text(json.loads(made.stdout)["token"])
        entries.append(shard.entry(f', token-file = "{token}"'))
    router = Router(graviton, scratch, entries)
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(8)}
    for name, body in bodies.items():
        router.put(name, body)
    for bucket in buckets:
        assert client(s3_server.endpoint).list_objects_v2(Bucket=bucket, Prefix="packs/").get("Contents")
    shards[0].running.kill()
    shards[0].start()
    for name, body in bodies.items():
        wait_until(lambda name=name, body=body: read_whole(router, name) == body, "it is back", 60)
    router.clean()
    router.running.stop()
    good = (scratch / "s1.token").read_text()
    (scratch / "s1.token").write_text("gvt_wrong")
    router.restart()
    assert "refuses this router's token" in router.targets()["s1"]["trouble"]
    (scratch / "s1.token").write_text(good)
    wait_until(lambda: not router.targets()["s1"]["trouble"], "the right token is read", 60)
    assert {name: router.get(name) for name in bodies} == bodies
    router.running.stop()


@pytest.mark.soak
def test_copies_on_two_shards(graviton: Graviton, scratch: Path) -> None:
    """With one of them away everything is read, and nothing acknowledged that would be on one alone."""
    graviton.allow_log(TROUBLE)
    shards = [ShardDaemon(graviton, scratch, name) for name in ("s1", "s2")]
    router = Router(graviton, scratch, [shard.entry() for shard in shards], "replication.factor = 2")
    bodies = {f"f{at}": os.urandom(3 * MIB // 2) for at in range(4)}
    for name, body in bodies.items():
        router.put(name, body)
    assert shards[0].packs() == shards[1].packs()
    router.running.stop()
    router.restart()
    shards[0].running.kill()
    assert {name: router.get(name) for name in bodies} == bodies
    wait_until(lambda: router.health() == 503, "the router to say that it cannot write", 60)
    shards[0].start()
    wait_until(lambda: router.health() == 200, "both are back", 60)
    router.put("late", b"late" * MIB)
    wait_until(lambda: shards[0].packs() == shards[1].packs() and router.settled(), "both have all", 60)
    router.clean()
    router.running.stop()


def test_a_store_with_packs_of_its_own_is_told_the_way(graviton: Graviton, scratch: Path) -> None:
    """It is refused before any shard is asked, and is as before."""
    data, file = scratch / "data", scratch / "sharded.conf"
    graviton.run("init", data)
    graviton.run("put", "-", f"{data}:/file", stdin=b"bytes")
    file.write_text(
        "graviton.storage { backend = sharded,"
        ' sharded.shards = [{ name = s1, address = "graviton://127.0.0.1:1" }] }'
    )
    refused = graviton.run("serve", "--config", file, "--data", data, status=1)
    assert b"copy the files" in refused.stderr
    assert graviton.run("cat", f"{data}:/file").stdout == b"bytes"
