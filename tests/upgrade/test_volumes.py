"""Volumes of earlier versions under this one's programs, and newer ones, which are refused and left alone."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest
import zstandard

import gravitonfs
from golden.expected import FILES
from golden.test_volume import VOLUMES, unpacked
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.releases import WRITTEN_BY
from harness.programs import ROOT, Graviton

OLDEST = next(path for path in VOLUMES if "-schema-" not in path.name)
NEWEST = max(VOLUMES, key=lambda path: path.name)
KNOWN = f"this version knows up to {{}} (graviton {gravitonfs.__version__}): use {{}}"
LATER = "a newer graviton: the one that wrote it, or later"


@pytest.mark.mount
@pytest.mark.parametrize("archive", [OLDEST, NEWEST], ids=["oldest", "newest"])
def test_a_volume_is_mounted_written_to_checked_and_mounted_again(
    archive: Path, graviton: Graviton, scratch: Path
) -> None:
    graviton.allow_log("the block index is empty: reading the footers of all packs")
    data, point = scratch / "data", scratch / "mnt"
    contents = unpacked(archive, data)
    expected = {path.decode(): contents(path) for path in FILES}
    added = {"new": b"n" * 2_000_000, "dir/deeper/new": b"small"}
    for round_ in range(2):
        running = graviton.mount(data, point)
        for name, body in expected.items():
            assert (point / name).read_bytes() == body
        assert (point / "link").readlink() == Path("dir/deeper/one-block")
        if not round_:
            for name, body in added.items():
                (point / name).write_bytes(body)
            with (point / "dir" / "text").open("r+b") as file:
                file.write(b"THE QUICK")
            expected |= added
            expected["dir/text"] = b"THE QUICK" + expected["dir/text"][9:]
        graviton.unmount(running, point)
        told = json.loads(graviton.run("fsck", data, "--read-data", "--json").stdout)
        assert not told["findings"]


def _schema(data: Path) -> None:
    with sqlite3.connect(data / "namespace.db") as connection:
        connection.execute("PRAGMA user_version=99")
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('release', '9.8.7')")
    connection.close()


def _format(data: Path) -> None:
    with sqlite3.connect(data / "namespace.db") as connection:
        connection.execute(
            "UPDATE meta SET value = ? WHERE key = 'format'", (VolumeFormat(version=99).to_json(),)
        )
    connection.close()


def _target(data: Path) -> None:
    store = data / "store"
    store.chmod(0o600)
    store.write_bytes(store.read_bytes().replace(b'"format":1', b'"format":99'))


def _kept(data: Path) -> dict[str, bytes]:
    """All that is not of one process: neither its index nor its lock."""
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal", "lock")) and "engine-" not in str(path)
    }


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_schema, f"schema 99, and {KNOWN.format(7, 'graviton 9.8.7 or newer')}"),
        (_format, f"format 99, and {KNOWN.format(1, LATER)}"),
        (_target, f"format 99, and {KNOWN.format(1, LATER)}"),
    ],
    ids=["schema", "volume", "target"],
)
def test_a_newer_volume_is_refused_and_left_alone(
    make: Callable[[Path], None], told: str, graviton: Graviton, scratch: Path
) -> None:
    data, point = scratch / "data", scratch / "mnt"
    unpacked(NEWEST, data)
    make(data)

    def kept() -> dict[str, bytes]:
        """Of a target that is refused, what is on the target."""
        return {
            name: body for name, body in _kept(data).items() if make is not _target or "namespace" not in name
        }

    before = kept()
    point.mkdir()
    commands: list[list[str | Path]] = [["mount", data, point, "-f"], ["fsck", data, "--repair", "--yes"]]
    if make is _schema:
        commands += [
            ["serve", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"],
            ["webdav", data, "--listen", "127.0.0.1:0"],
            ["gc", data],
        ]
    for command in commands:
        answer = graviton.run(*command, status=1)
        assert told in answer.stderr.decode(), command
        assert kept() == before, command


def test_a_newer_pack_stops_who_reads_it_whole_and_stays(graviton: Graviton, scratch: Path) -> None:
    data = scratch / "data"
    unpacked(NEWEST, data)
    pack = max((data / "packs").rglob("*.pack"), key=lambda path: path.stat().st_size)
    whole = bytearray(pack.read_bytes())
    struct.pack_into("<H", whole, 8, 99)
    struct.pack_into("<I", whole, 68, google_crc32c.value(bytes(whole[:68])))
    pack.chmod(0o600)
    pack.write_bytes(whole)
    for command in (["fsck", "--read-data"], ["fsck", "--read-data", "--repair", "--yes"], ["scrub"]):
        answer = graviton.run(*command, data, status=1)
        assert f"format 99, and {KNOWN.format(1, LATER)}" in answer.stderr.decode(), command
        assert pack.read_bytes() == whole, command


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'"schema":7', b'"schema":99', "schema 99, and " + KNOWN.format(7, "graviton 9.8.7 or newer")),
        (
            b'"graviton-dump":1',
            b'"graviton-dump":99',
            "format 99, and " + KNOWN.format(1, "graviton 9.8.7 or newer"),
        ),
    ],
    ids=["schema", "format"],
)
def test_a_newer_dump_is_refused(
    old: bytes, new: bytes, told: str, graviton: Graviton, scratch: Path
) -> None:
    data, dump = scratch / "data", scratch / "dump"
    unpacked(NEWEST, data)
    graviton.run("dump", data, dump)
    (data / "namespace.db").rename(scratch / "kept.db")
    (data / "namespace.db-redo").unlink(missing_ok=True)
    ours = f'"release":"{gravitonfs.__version__}"'.encode()
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(dump.read_bytes())
    dump.write_bytes(plain.replace(ours, b'"release":"9.8.7"', 1).replace(old, new, 1))
    answer = graviton.run("load", data, dump, status=1)
    assert told in answer.stderr.decode()
    assert not (data / "namespace.db").exists()


def test_the_page_on_upgrades_has_every_format_and_its_versions() -> None:
    page = (ROOT / "docs" / "upgrade.md").read_text()
    for kind, releases in WRITTEN_BY.items():
        assert f"| {kind.value} | {len(releases)} | {releases[-1]} |" in page
