"""gc, fsck, scrub, dump, load: what they tell and their exit status; whoever has the volume open."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import zstandard

from cli.conftest import Shell


def fill(shell: Shell) -> bytes:
    body = random.Random(2).randbytes(4 << 20)
    shell.run("mkdir", shell.at("/t"))
    shell.write("/t/keep", body)
    shell.write("/t/drop", random.Random(3).randbytes(4 << 20))
    return body


def packs(shell: Shell) -> list[Path]:
    return sorted(path for path in (shell.data / "packs").rglob("*.pack"))


def damage(path: Path) -> None:
    """A flipped bit in the middle of a pack, as a disk would do it."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))


def test_gc_gives_space_back(reached: Shell) -> None:
    body = fill(reached)
    before = reached.json("info", str(reached.data))
    reached.run("rm", reached.at("/t/drop"))
    told = reached.json("gc", str(reached.data), "--dry-run")
    assert told["dry_run"] is True
    assert reached.json("info", str(reached.data))["stored_bytes"] >= before["stored_bytes"] - (1 << 20)
    freed = reached.json("gc", str(reached.data))
    assert {"condemned", "deleted", "freed_bytes", "compacted", "moved_bytes", "missing"} <= freed.keys()
    assert freed["missing"] == 0
    assert reached.read("/t/keep") == body
    assert "freed" in reached.run("gc", str(reached.data))


def test_a_clean_volume(reached: Shell) -> None:
    fill(reached)
    report = reached.json("fsck", str(reached.data), "--read-data")
    assert report["clean"] is True
    assert report["findings"] == []
    assert report["bytes_read"] > 8 << 20
    assert reached.run("fsck", str(reached.data)).startswith("clean: ")
    assert reached.json("fsck", str(reached.data), "--rebuild-index")["clean"] is True
    scrubbed = reached.json("scrub", str(reached.data))
    assert scrubbed["clean"] is True
    assert scrubbed["complete"] is True
    assert reached.run("scrub", str(reached.data)).startswith("clean: ")


def test_damage_is_named_and_has_status_three(volume: Shell) -> None:
    fill(volume)
    before = packs(volume)
    assert before
    damage(before[0])
    report = volume.result("fsck", str(volume.data), "--read-data", "--json", status=3).stdout
    assert b'"clean":false' in report
    told = volume.result("fsck", str(volume.data), "--read-data", status=3).stdout.decode()
    assert "damaged" in told.splitlines()[-1]
    assert "/t/" in told
    assert "bytes " in told
    assert volume.result("scrub", str(volume.data), status=3).stdout


def test_a_dump_is_whole(reached: Shell) -> None:
    fill(reached)
    scratch = reached.graviton.scratch
    told = reached.json("dump", str(reached.data), "backup.zst")
    compressed = (scratch / "backup.zst").read_bytes()
    assert told["bytes"] == len(compressed)
    text = zstandard.ZstdDecompressor().decompressobj().decompress(compressed)
    assert told["lines"] == text.count(b"\n")
    assert b"keep" in text
    assert reached.result("dump", str(reached.data)).stdout[:4] == compressed[:4]
    assert "json" in reached.fails("dump", str(reached.data), "--json", status=2)
    assert reached.fails("dump", str(reached.data), "no/such/place")
    assert sorted(path.name for path in scratch.glob("*back*")) == ["backup.zst"]


def test_upkeep_of_what_is_no_volume(volume: Shell) -> None:
    for command in ("gc", "fsck", "scrub", "dump"):
        assert "is no volume" in volume.fails(command, "nowhere")


def test_a_volume_is_made_again_of_its_packs_and_a_dump(volume: Shell) -> None:
    body = fill(volume)
    scratch = volume.graviton.scratch
    volume.run("dump", str(volume.data), "backup.zst")
    assert "is a volume already" in volume.fails("load", str(volume.data), "backup.zst")
    for path in volume.data.glob("namespace.db*"):
        path.unlink()
    assert "is no volume" in volume.fails("ls", volume.at("/"))
    (scratch / "cut").write_bytes((scratch / "backup.zst").read_bytes()[:-20])
    assert volume.fails("load", str(volume.data), "cut")
    assert "is no volume" in volume.fails("ls", volume.at("/"))
    told = volume.json("load", str(volume.data), "backup.zst")
    assert told["data"] == str(volume.data)
    assert volume.read("/t/keep") == body
    assert volume.json("fsck", str(volume.data), "--read-data")["clean"] is True
    assert "is a directory" in volume.fails("load", "new", str(scratch))


def test_a_repair_says_what_it_would_do_first(volume: Shell) -> None:
    body = fill(volume)
    with sqlite3.connect(volume.data / "namespace.db") as names:
        names.execute("DELETE FROM names WHERE name = CAST('keep' AS BLOB)")
    names.close()
    data = str(volume.data)
    refused = volume.result("fsck", data, "--repair", status=2)
    assert b"give --yes, or --dry-run" in refused.stderr
    told = volume.result("fsck", data, "--repair", "--dry-run", status=3).stdout.decode()
    assert "to repair 1 of inode-without-name: name them in /.graviton-lost; lost by it: nothing" in told
    plan = json.loads(volume.result("fsck", data, "--repair", "--dry-run", "--json", status=3).stdout)["plan"]
    assert [(planned["kind"], planned["count"]) for planned in plan] == [("inode-without-name", 1)]
    told = volume.run("fsck", data, "--repair", "--yes")
    at = [told.index(part) for part in ("to repair 1", "repaired: inode-without-name: 1 found", "clean:")]
    assert at == sorted(at)
    assert volume.run("fsck", data, "--repair", "--yes").startswith("clean: ")
    [name] = volume.run("ls", volume.at("/.graviton-lost")).split()
    assert volume.read(f"/.graviton-lost/{name}") == body


def test_a_repair_while_it_is_in_use(reached: Shell) -> None:
    """Through the process that has it open, where one has."""
    fill(reached)
    assert reached.run("fsck", str(reached.data), "--repair", "--yes").startswith("clean: ")
