"""deploy/backup: the database's own dumps, versions of the bucket, and drills with both."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from backup.stores import SCRIPTS, SharedStore, delete, put_files
from cli.test_backends import keys
from harness.buckets import client
from harness.postgres import PostgresServer
from harness.programs import Graviton
from harness.s3server import S3Server
from harness.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def store(graviton: Graviton, scratch: Path, postgres: PostgresServer, s3_server: S3Server) -> SharedStore:
    made = SharedStore(graviton, scratch, postgres, s3_server)
    made.extra = "backup.interval = 0"
    return made


@pytest.fixture
def backups(store: SharedStore) -> str:
    """The bucket of the database's dumps."""
    name = f"{store.bucket}-dumps"
    client(store.s3.endpoint).create_bucket(Bucket=name)
    return name


def test_shellcheck_finds_nothing() -> None:
    found = shutil.which("shellcheck")
    assert found, "install the package shellcheck (tools/system-packages test)"
    scripts = sorted(SCRIPTS.glob("*.sh"))
    assert len(scripts) == 4
    done = subprocess.run([found, "-x", *scripts], cwd=SCRIPTS.parents[1], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("since_a_dump", [pytest.param(False, marks=pytest.mark.soak), True])
def test_what_a_backup_needs_survives_and_comes_back(
    store: SharedStore, backups: str, graviton: Graviton, scratch: Path, since_a_dump: bool
) -> None:
    """Back up, delete, collect, lose the database, restore, ``fsck --after-restore``, compare all."""
    graviton.allow_log("empty: reading the footers|server does not answer|no row names")
    daemon = store.daemon("one")
    files = put_files(daemon)
    wait_until(lambda: any(key.startswith("packs/") for key in keys(store.s3, store.bucket)), "a pack")
    if since_a_dump:
        graviton.run("dump", "--to-targets", scratch / "one")
        files |= put_files(daemon, "young-")
    store.script("backup-postgres.sh", GRAVITON_BACKUP_BUCKET=backups)
    for dump in json.loads(graviton.run("dump", "--list", "--json", scratch / "one").stdout):
        if dump["on_targets"]:
            graviton.run("dump", "--drop", dump["name"], "--yes", scratch / "one")
    [local] = (scratch / "backups").iterdir()
    [there] = keys(store.s3, backups)
    assert there == f"postgres/{local.name}"
    assert b"CREATE TABLE" in gzip.decompress(local.read_bytes())
    listed = json.loads(graviton.run("dump", "--list", "--json", scratch / "one").stdout)
    assert [(dump["owner"], dump["name"]) for dump in listed] == [("postgres", local.name)]
    for name in files:
        delete(daemon, name)
    later = put_files(daemon, "later-")
    graviton.run("gc", scratch / "one")
    graviton.run("gc", scratch / "one")
    assert daemon.running.stop() == 0
    store.new_database()
    local.unlink()
    shutil.rmtree(scratch / "one")

    said = store.script(
        "restore-postgres.sh", "--config", str(store.file("one")), GRAVITON_BACKUP_BUCKET=backups
    )
    assert "clean:" in said
    again = store.daemon("one")
    assert {name: again.get(name) for name in files} == files
    with pytest.raises(OSError, match="404"):
        again.get(next(iter(later)))
    more = put_files(again, "more-")
    assert {name: again.get(name) for name in more} == more
    assert again.running.stop() == 0
    refused = store.script("restore-postgres.sh", status=1, GRAVITON_BACKUP_BUCKET=backups)
    assert "holds a store already" in refused


def test_a_backup_fails_whole(store: SharedStore, backups: str, graviton: Graviton, scratch: Path) -> None:
    daemon = store.daemon("one")
    put_files(daemon)
    said = store.script(
        "backup-postgres.sh", status=1, GRAVITON_BACKUP_BUCKET=backups, AWS_SECRET_ACCESS_KEY="another"
    )
    assert "nothing of it is left" in said
    broken = scratch / "broken"
    broken.mkdir()
    (broken / "pg_dump").write_text("#!/bin/sh\necho 'half of it'\nexit 1\n")
    (broken / "pg_dump").chmod(0o755)
    path = f"{broken}:{store.postgres.binaries}:/usr/bin:/bin"
    store.script("backup-postgres.sh", status=1, GRAVITON_BACKUP_BUCKET=backups, PATH=path)
    (broken / "pg_dump").write_text("#!/bin/sh\necho 'cut off, and it does not know'\n")
    store.script("backup-postgres.sh", status=1, GRAVITON_BACKUP_BUCKET=backups, PATH=path)
    assert not list((scratch / "backups").iterdir())
    assert keys(store.s3, backups) == []
    assert json.loads(graviton.run("dump", "--list", "--json", scratch / "one").stdout) == []
    assert store.postgres.execute("SELECT * FROM dumps", store.database) == []
    assert daemon.running.stop() == 0


def test_old_backups_go_everywhere(
    store: SharedStore, backups: str, graviton: Graviton, scratch: Path
) -> None:
    daemon = store.daemon("one")
    put_files(daemon)
    old, young = "graviton_backup_20200101_000000.sql.gz", "graviton_backup_20990101_000000.sql.gz"
    folder = scratch / "backups"
    folder.mkdir()
    for name in (old, young, "notes.txt"):
        (folder / name).write_bytes(b"x")
        client(store.s3.endpoint).put_object(Bucket=backups, Key=f"postgres/{name}", Body=b"x")
        store.postgres.execute(f"INSERT INTO dumps VALUES ('postgres', '{name}', 0)", store.database)
    store.script("backup-postgres.sh", GRAVITON_BACKUP_BUCKET=backups)
    names = {path.name for path in folder.iterdir()}
    assert old not in names
    assert {young, "notes.txt"} < names
    assert len(names) == 3
    assert {Path(key).name for key in keys(store.s3, backups)} == names
    held = {row[0] for row in store.postgres.execute("SELECT name FROM dumps", store.database)}
    assert held == names
    assert daemon.running.stop() == 0


def test_a_deleted_pack_comes_back_from_an_old_version(
    store: SharedStore, graviton: Graviton, scratch: Path
) -> None:
    graviton.allow_log("missing|is lost|cannot be read|in no pack|no target has|NoSuchKey|not found|footer")
    store.script("bucket-versioning.sh")
    daemon = store.daemon("one")
    files = put_files(daemon)
    assert daemon.running.stop() == 0
    s3 = client(store.s3.endpoint)
    packs = [key for key in keys(store.s3, store.bucket) if key.startswith("packs/")]
    for key in packs:
        s3.delete_object(Bucket=store.bucket, Key=key)
    file = store.file("one")
    shutil.rmtree(scratch / "one")
    damaged = json.loads(graviton.run("fsck", "--json", file, status=3).stdout)
    missing = {found["key"] for found in damaged["findings"] if found["kind"] == "pack-missing"}
    assert missing == set(packs)
    for key in missing:  # as docs/backup.md tells
        versions = s3.list_object_versions(Bucket=store.bucket, Prefix=key)
        for marker in versions["DeleteMarkers"]:
            s3.delete_object(Bucket=store.bucket, Key=key, VersionId=marker["VersionId"])
    whole = json.loads(graviton.run("fsck", "--read-data", "--rebuild-index", "--json", file).stdout)
    assert whole["clean"], whole
    again = store.daemon("one")
    assert {name: again.get(name) for name in files} == files
    assert again.running.stop() == 0


def test_policies_are_what_s3_takes(store: SharedStore) -> None:
    """Versions and life cycle as this server tells them back, and that deletions are not replicated."""
    store.script("bucket-versioning.sh")
    store.script("bucket-versioning.sh")
    s3 = client(store.s3.endpoint)
    assert s3.get_bucket_versioning(Bucket=store.bucket)["Status"] == "Enabled"
    rules = json.loads((SCRIPTS / "replication.json").read_text())
    assert rules["Rules"][0]["Destination"]["Bucket"] == "REPLICA_BUCKET_ARN"
    assert rules["Rules"][0]["DeleteMarkerReplication"]["Status"] == "Disabled"
    lifecycle = json.loads((SCRIPTS / "lifecycle.json").read_text())
    assert {rule["Status"] for rule in lifecycle["Rules"]} == {"Enabled"}


@pytest.mark.parametrize(
    ("operation", "name", "member"),
    [
        ("PutBucketReplication", "replication.json", "ReplicationConfiguration"),
        ("PutBucketLifecycleConfiguration", "lifecycle.json", "LifecycleConfiguration"),
    ],
)
def test_what_is_asked_of_the_bucket_has_the_shape_that_aws_wants(
    operation: str, name: str, member: str
) -> None:
    """By AWS' own model of the service, as no test server replicates: nothing is missing, misspelt, of
    another type, or a value that an enum does not have."""
    shape = botocore.session.get_session().get_service_model("s3").operation_model(operation).input_shape
    asked = {"Bucket": "graviton", member: json.loads((SCRIPTS / name).read_text())}
    assert not ParamValidator().validate(asked, shape).has_errors()
    assert not list(_outside_the_model(asked, shape))
    for rule in asked[member]["Rules"]:  # type: ignore[index]
        with_another = {**asked, member: {"Rules": [{**rule, "Sattus": "Enabled"}]}}
        assert list(_outside_the_model(with_another, shape)), "the check finds what is misspelt"


def _outside_the_model(value: Any, shape: Any, where: str = "") -> Iterator[str]:
    """What botocore's validation lets pass: values that no enum has."""
    if shape.type_name == "structure":
        for key, part in value.items():
            if key not in shape.members:
                yield f"{where}.{key}"
            else:
                yield from _outside_the_model(part, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list":
        for part in value:
            yield from _outside_the_model(part, shape.member, f"{where}[]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{where} = {value}"
