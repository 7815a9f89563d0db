"""``graviton snapshot diff`` and ``restore``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.programs import Graviton
from snapshots.trees import Served, build, change, seen

pytestmark = pytest.mark.mount
MIB = 1 << 20


def told(graviton: Graviton, *arguments: str | Path) -> set[tuple[str, ...]]:
    lines = graviton.run("snapshot", "diff", *arguments, "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return {
        (one["what"], one["path"], *([one["to"]] if "to" in one else one.get("how", []))) for one in found
    }


def stored(graviton: Graviton, source: Path) -> int:
    found: int = json.loads(graviton.run("info", source, "--json").stdout)["stored_bytes"]
    return found


class TestDiff:
    def test_each_kind_of_change(self, served: Served, graviton: Graviton) -> None:
        top = served.point
        build(top)
        (top / "d" / "saved").write_bytes(b"as it was")
        (top / "d" / "mode").write_bytes(b"m")
        (top / "whole" / "below").mkdir(parents=True)
        (top / "whole" / "below" / "file").write_bytes(b"f")
        (top / "whole" / "kept").write_bytes(b"k")
        graviton.run("snapshot", "create", top, "a")
        assert told(graviton, top, "a") == set()
        change(top)
        os.chmod(top / "d" / "mode", 0o600)
        (top / "new").write_bytes(b"new")
        (top / "saved~").write_bytes(b"as it is")
        os.replace(top / "saved~", top / "d" / "saved")
        os.rename(top / "whole" / "kept", top / "kept")
        (top / "whole" / "below" / "file").unlink()
        (top / "whole" / "below").rmdir()
        (top / "whole").rmdir()
        (top / "more" / "deep").mkdir(parents=True)
        expected = {
            ("changed", "/d/large", "data"),
            ("changed", "/d/small", "data", "attributes"),
            ("removed", "/d/link"),
            ("renamed", "/d/e", "/moved"),
            ("removed", "/moved/gone"),
            ("changed", "/d/mode", "mode"),
            ("changed", "/d/saved", "data"),
            ("added", "/new"),
            ("renamed", "/whole/kept", "/kept"),
            ("removed", "/whole"),
            ("removed", "/whole/below"),
            ("removed", "/whole/below/file"),
            ("added", "/more"),
            ("added", "/more/deep"),
        }
        assert told(graviton, top, "a") == expected
        graviton.run("snapshot", "create", top, "b")
        (top / "later").mkdir()
        assert told(graviton, served.source, "a", "b") == expected
        assert told(graviton, served.source, "b") == {("added", "/later")}
        back = told(graviton, served.source, "b", "a")
        assert ("renamed", "/moved", "/d/e") in back
        assert ("added", "/d/link") in back
        shown = graviton.run("snapshot", "diff", top, "a", "b").stdout.decode().splitlines()
        assert "R /d/e -> /moved" in shown
        assert "M /d/mode (mode)" in shown
        assert "+ /new" in shown
        assert b"there is no snapshot 'x'" in graviton.run("snapshot", "diff", top, "x", status=1).stderr


class TestRestore:
    def test_a_file_and_a_tree(self, served: Served, graviton: Graviton) -> None:
        top = served.point
        build(top)
        os.link(top / "d" / "small", top / "d" / "linked")
        with open(top / "d" / "holes", "wb") as file:
            file.write(b"x" * 100_000)
            file.truncate(70 * MIB)
        with open(top / "d" / "hole", "wb") as file:
            file.truncate(3 * MIB)
        before = seen(top)
        graviton.run("snapshot", "create", top, "s")
        change(top)
        refused = graviton.run("snapshot", "restore", top, "s", "/d/small", status=1)
        assert b"--to" in refused.stderr
        assert b"--force" in refused.stderr
        graviton.run("snapshot", "restore", top, "s", "/d/link")
        assert os.readlink(top / "d" / "link") == "small"
        graviton.run("snapshot", "restore", top, "s", "/d/small", "--to", "/again")
        assert (top / "again").read_bytes() == b"small"
        assert (top / "d" / "small").read_bytes() == b"another"
        graviton.run("snapshot", "restore", top, "s", "/d/large", "--force")
        assert (top / "d" / "large").read_bytes() == before["d/large"][2][0]  # type: ignore[index]

        made = json.loads(graviton.run("snapshot", "restore", top, "s", "--to", "/whole", "--json").stdout)
        assert made["directories"] == 3
        assert seen(top / "whole") == before
        assert (top / "whole" / "d" / "small").stat().st_nlink == 2
        graviton.run("snapshot", "restore", top, "s", "/d", "--force")
        assert seen(top / "d") == seen(top / "whole" / "d")
        assert [name for name in os.listdir(top) if name.startswith(".restoring")] == []
        for arguments, why in {
            ("/",): b"--to",
            ("/none",): b"is not in the snapshot",
            ("/d/small", "--to", "/.snapshots/s/x"): b"cannot be changed",
            ("/d/small", "--to", "/nowhere/x"): b"nowhere",
        }.items():
            assert why in graviton.run("snapshot", "restore", top, "s", *arguments, status=1).stderr

    def test_no_bytes_are_copied(self, graviton: Graviton, scratch: Path) -> None:
        data = scratch / "data"
        graviton.run("init", data)
        (scratch / "f").write_bytes(os.urandom(20 * MIB))
        (scratch / "g").write_bytes(b"little")
        graviton.run("put", scratch / "f", f"{data}:/f")
        graviton.run("put", scratch / "g", f"{data}:/g")
        graviton.run("snapshot", "create", data, "s")
        graviton.run("rm", f"{data}:/f")
        graviton.run("rm", f"{data}:/g")
        graviton.run("gc", data)
        before = stored(graviton, data)
        assert before > 20 * MIB
        graviton.run("snapshot", "restore", data, "s", "/f")
        graviton.run("snapshot", "restore", data, "s", "/g")
        assert stored(graviton, data) < before + 4096
        graviton.run("snapshot", "delete", data, "s")
        graviton.run("gc", data)
        assert graviton.run("cat", f"{data}:/f").stdout == (scratch / "f").read_bytes()
        assert graviton.run("cat", f"{data}:/g").stdout == b"little"
        graviton.run("fsck", data, "--read-data")
        graviton.run("rm", f"{data}:/f")
        graviton.run("gc", data)
        assert stored(graviton, data) < MIB
