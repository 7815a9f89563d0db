"""What operators practise: everything but the targets is lost, and comes back (docs/backup.md)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backup.stores import SharedStore, delete, metric, put_files
from cli.test_backends import Daemon, bucket_lines, configuration, keys
from harness.buckets import client, new_bucket
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until

MIB = 1 << 20

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def store(graviton: Graviton, scratch: Path, postgres: PostgresServer, s3_server: S3Server) -> SharedStore:
    return SharedStore(graviton, scratch, postgres, s3_server)


def clean(graviton: Graviton, source: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(graviton.run("fsck", "--read-data", "--json", source).stdout)
    assert not found["findings"]
    return found


def loaded(graviton: Graviton, source: Path, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(graviton.run("load", source, "--json", *options).stdout)
    return found


def test_database_and_index_are_lost(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    """Two daemons; both are killed, and their directories and the database with them."""
    graviton.allow_log("empty: reading the footers")
    store.extra = "backup { interval = 1s, keep = 3 }"
    one, two = store.daemon("one"), store.daemon("two")
    files = put_files(one, "one-") | put_files(two, "two-")
    graviton.run("snapshot", "create", scratch / "one.conf", "before")
    graviton.run("token", "create", "--name", "operator", scratch / "one.conf")
    tokens = graviton.run("token", "list", scratch / "one.conf", "--json").stdout
    delete(one, "one-300000")
    since = len(json.loads(graviton.run("dump", "--list", "--json", scratch / "one.conf").stdout))
    made = _dump_now(graviton, scratch / "one.conf")
    assert metric(one, "graviton_backup_age_seconds") < 60
    assert since <= 3
    one.running.kill()
    two.running.kill()
    store.new_database()
    shutil.rmtree(scratch / "one")
    shutil.rmtree(scratch / "two")

    file = store.file("new")
    listed = json.loads(graviton.run("load", "--list", "--json", file).stdout)
    assert made in [dump["dump"] for dump in listed]
    assert 1 <= len(listed) <= 4
    assert loaded(graviton, file, "--dry-run")["packs_gone"] == 0
    report = loaded(graviton, file)
    assert report["dump"] == listed[-1]["dump"]
    graviton.run("load", file, status=1)
    clean(graviton, file)
    again = store.daemon("new")
    del files["one-300000"]
    assert {name: again.get(name) for name in files} == files
    assert [one["name"] for one in again.send_get("/api/v1/admin/volumes/main/snapshots")["snapshots"]]
    assert graviton.run("token", "list", file, "--json").stdout == tokens
    more = put_files(again, "more-")
    assert {name: again.get(name) for name in more} == more
    assert again.running.stop() == 0
    clean(graviton, file)


def _dump_now(graviton: Graviton, source: Path) -> str:
    found = json.loads(graviton.run("dump", "--to-targets", "--json", source).stdout)
    return str(found["dump"])


def test_it_is_made_by_the_clock_and_shown(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    store.extra = "backup { interval = 1s, keep = 2 }"
    one, two = store.daemon("one"), store.daemon("two")
    put_files(one)

    def listed() -> list[str]:
        found = client(store.s3.endpoint).list_objects_v2(Bucket=store.bucket, Prefix="backup/dumps/")
        return sorted(item["Key"] for item in found.get("Contents", ()))

    wait_until(lambda: len(listed()) == 2, "two dumps by the clock")
    first = listed()
    wait_until(lambda: not set(first) & set(listed()), "newer ones take their place")
    assert len(listed()) <= 3

    def shown() -> dict[str, Any]:
        return json.loads(graviton.run("status", "--json", scratch / "two").stdout)["backup"]  # type: ignore[no-any-return]

    assert shown()["keep"] == 2
    wait_until(lambda: shown()["newest"], "the other daemon knows of it")
    assert "newest dump" in graviton.run("status", scratch / "two").stdout.decode()
    assert metric(two, "graviton_backup_age_seconds") < 120
    assert metric(two, "graviton_backup_failures_total") == 0
    dumps = one.send_get("/api/v1/admin/dumps")["dumps"]
    assert dumps
    assert all(dump["on_targets"] and dump["owner"] == "backup" for dump in dumps)
    job = one.send("POST", "/api/v1/admin/backup", b"{}", {"Content-Type": "application/json"})
    ended = wait_until(
        lambda: (found := one.send_get(f"/api/v1/admin/jobs/{job['id']}"))["state"] != "running" and found,
        "the dump that the API was asked for",
    )
    assert ended["state"] == "done"
    assert one.running.stop() == 0
    assert two.running.stop() == 0


@pytest.mark.soak
def test_what_a_dump_needs_outlives_collection(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    """Dump, delete, collect, restore; every file is compared."""
    graviton.allow_log("empty: reading the footers")
    daemon = store.daemon("one")
    files = put_files(daemon)
    file = scratch / "one.conf"
    wait_until(lambda: any(key.startswith("packs/") for key in keys(store.s3, store.bucket)), "a pack")
    dump = _dump_now(graviton, file)
    for name in files:
        delete(daemon, name)
    graviton.run("gc", file)
    graviton.run("gc", file)
    later = put_files(daemon, "later-")
    assert daemon.running.stop() == 0
    store.new_database()
    restored = store.file("two")
    assert loaded(graviton, restored, "--dump", dump)["dump"] == dump
    clean(graviton, restored)
    again = store.daemon("two")
    assert {name: again.get(name) for name in files} == files
    assert later
    assert again.running.stop() == 0


def test_from_a_copy_of_the_bucket(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    """As replication to another region has it."""
    graviton.allow_log("empty: reading the footers")
    daemon = store.daemon("one")
    files = put_files(daemon)
    _dump_now(graviton, scratch / "one.conf")
    daemon.running.kill()
    s3, old = client(store.s3.endpoint), store.bucket
    store.bucket = new_bucket(store.s3)
    for key in keys(store.s3, old):
        s3.copy_object(Bucket=store.bucket, Key=key, CopySource={"Bucket": old, "Key": key})
    store.new_database()
    file = store.file("two")
    loaded(graviton, file)
    clean(graviton, file)
    again = store.daemon("two")
    assert {name: again.get(name) for name in files} == files
    assert again.running.stop() == 0


@pytest.mark.soak
def test_from_a_copy_of_the_bucket_in_a_directory(
    store: SharedStore, graviton: Graviton, scratch: Path
) -> None:
    """What was in a bucket and in PostgreSQL becomes an embedded volume."""
    graviton.allow_log("empty: reading the footers")
    daemon = store.daemon("one")
    files = put_files(daemon)
    _dump_now(graviton, scratch / "one.conf")
    assert daemon.running.stop() == 0
    s3, home = client(store.s3.endpoint), scratch / "copy"
    for key in keys(store.s3, store.bucket):
        (home / key).parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(store.bucket, key, str(home / key))
    loaded(graviton, home)
    clean(graviton, home)
    for name, body in files.items():
        graviton.run("get", f"{home}:/{name}", scratch / "out")
        assert (scratch / "out").read_bytes() == body
        (scratch / "out").unlink()


@pytest.mark.soak
def test_an_old_daemon_does_not_mix(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    """A daemon of before the load runs on, or comes back: it collects nothing, and is not started again."""
    graviton.allow_log("empty: reading the footers")
    graviton.allow_log("another database")
    old = store.daemon("old")
    files = put_files(old)
    _dump_now(graviton, scratch / "old.conf")
    for name in files:
        delete(old, name)
    store.new_database()
    loaded(graviton, store.file("new"))
    new = store.daemon("new")
    assert {name: new.get(name) for name in files} == files
    refused = graviton.run("gc", scratch / "old", status=1)
    assert b"another database" in refused.stderr
    assert old.running.stop() == 0
    old.restart()
    assert old.running.process.wait(60) == 1
    assert "another database" in old.running.log_text()
    assert {name: new.get(name) for name in files} == files
    assert new.running.stop() == 0


@pytest.mark.soak
def test_an_interrupted_load_is_refused(store: SharedStore, graviton: Graviton, scratch: Path) -> None:
    """Killed at any moment: the database is empty, or is not opened before it was made anew."""
    graviton.allow_log("empty: reading the footers")
    graviton.allow_log("was interrupted")
    daemon = store.daemon("one")
    files = put_files(daemon)
    _dump_now(graviton, scratch / "one.conf")
    assert daemon.running.stop() == 0
    for pause in (0.4, 0.8, 1.2, 1.6):
        store.new_database()
        file = store.file("two")
        loading = graviton.start("load", file)
        try:
            loading.process.wait(pause)
        except subprocess.TimeoutExpired:
            loading.expected_signal = True
            loading.process.send_signal(signal.SIGKILL)
            loading.process.wait(60)
    store.new_database()
    store.postgres.execute("SELECT 1", store.database)
    loaded(graviton, store.file("two"))
    store.postgres.execute("INSERT INTO meta (key, value) VALUES ('loading', 1)", store.database)
    refused = graviton.run("fsck", store.file("two"), status=1)
    assert b"make the database anew" in refused.stderr
    store.postgres.execute("DELETE FROM meta WHERE key = 'loading'", store.database)
    again = store.daemon("two")
    assert {name: again.get(name) for name in files} == files
    assert again.running.stop() == 0


# --- several targets, names in SQLite -----------------------------------------------------------------


def test_several_targets_and_one_is_lost(graviton: Graviton, scratch: Path, s3_server: S3Server) -> None:
    """The machine with the database and one target is gone; a directory and a bucket are left."""
    graviton.allow_log("empty: reading the footers|passed by|fails|is lost: it will be made anew")
    bucket = new_bucket(s3_server)
    entries = "\n".join(
        [
            f'{{ name = local, kind = directory, zone = a, path = "{scratch / "data"}" }}',
            f'{{ name = disk, kind = directory, zone = b, path = "{scratch / "disk"}" }}',
            f'{{ name = cloud, kind = s3, zone = c, bucket = "{bucket}", copies = 1, zones = 1,'  # noqa: ISC004
            f' endpoint = "{s3_server.endpoint}" }}',
        ]
    )
    lines = (
        "auth.enabled = false",
        f'data-dir = "{scratch / "data"}"',
        f"storage.targets = [{entries}]",
        "replication { factor = 2, min-zones = 2, repair.interval = 1s }",
    )
    file = configuration(scratch, *lines)
    daemon = Daemon(graviton, file, scratch / "data")
    files = {f"f{at}": os.urandom(3 * MIB) for at in range(6)}
    for name, body in files.items():
        daemon.put(name, body)
    dump = _dump_now(graviton, scratch / "data")
    assert daemon.running.stop() == 0
    for place in ((scratch / "disk/backup/dumps").iterdir(), (scratch / "data/backup/dumps").iterdir()):
        assert [path.stem for path in place] == [dump]
    assert f"backup/dumps/{dump}.json" in keys(s3_server, bucket)
    shutil.rmtree(scratch / "data")

    report = loaded(graviton, file)
    assert report["dump"] == dump
    assert report["packs_gone"] == 0
    assert report["copies_lost"] > 0
    again = Daemon(graviton, file, scratch / "data")
    assert {name: again.get(name) for name in files} == files

    def unhealthy() -> int:
        found = json.loads(graviton.run("status", "--json", scratch / "data").stdout)
        return int(found["replication"]["unhealthy"])

    wait_until(lambda: unhealthy() == 0, "copies are made anew", 120)
    assert again.running.stop() == 0
    clean(graviton, scratch / "data")


def test_a_volume_from_another_targets_dump(graviton: Graviton, scratch: Path) -> None:
    """No configuration: the volume's directory has lost names and dumps, its second target has them."""
    graviton.allow_log("empty: reading the footers|passed by")
    data, disk = scratch / "data", scratch / "disk"
    graviton.run("init", data)
    graviton.run("target", "add", data, "disk", "--path", disk, "--zone", "far")
    body = os.urandom(3 * MIB)
    graviton.run("put", "-", f"{data}:/f", stdin=body)
    _dump_now(graviton, data)
    shutil.rmtree(data / "backup")
    for path in data.glob("namespace.db*"):
        path.unlink()
    graviton.run("load", data, status=1)
    loaded(graviton, data, "--from", str(disk))
    clean(graviton, data)
    graviton.run("get", f"{data}:/f", scratch / "out")
    assert (scratch / "out").read_bytes() == body


@pytest.mark.soak
def test_names_in_sqlite_packs_in_a_bucket(graviton: Graviton, scratch: Path, s3_server: S3Server) -> None:
    graviton.allow_log("empty: reading the footers")
    bucket = new_bucket(s3_server)
    lines = (
        "auth.enabled = false",
        f'data-dir = "{scratch / "data"}"',
        bucket_lines(s3_server, bucket),
    )
    file = configuration(scratch, *lines)
    daemon = Daemon(graviton, file, scratch / "data")
    files = put_files(daemon)
    _dump_now(graviton, scratch / "data")
    daemon.running.kill()
    shutil.rmtree(scratch / "data")
    loaded(graviton, file)
    clean(graviton, file)
    again = Daemon(graviton, file, scratch / "data")
    assert {name: again.get(name) for name in files} == files
    assert again.running.stop() == 0
