"""tar, rsync and cp bring trees in and out without a difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from programs.conftest import Mounted
from programs.shell import run, source_tree

pytestmark = pytest.mark.mount


def test_tar_unpacks_and_finds_no_difference_after_a_remount(mounted: Mounted, scratch: Path) -> None:
    source_tree(scratch)
    archive = scratch / "tree.tar"
    run("tar", "-C", scratch, "--sparse", "-cpf", archive, "tree")
    run("tar", "-C", mounted.point, "-xpf", archive)
    mounted.remount()
    assert run("tar", "-C", mounted.point, "--compare", "-f", archive) == ""
    links = mounted.point / "tree" / "hard link"
    assert links.stat().st_nlink == 2
    run("tar", "-C", mounted.point, "-cf", scratch / "again.tar", "tree")
    assert run("tar", "-C", scratch, "--compare", "-f", scratch / "again.tar") == ""


def test_rsync_finds_nothing_to_do_the_second_time(mounted: Mounted, scratch: Path) -> None:
    tree = source_tree(scratch)
    victim = sorted(tree.glob("*.py"))[1]
    run("setfattr", "-n", "user.comment", "-v", "kept", victim)
    run("setfacl", "-m", "u:54301:rw", victim)
    copy = mounted.point / "copy"
    run("rsync", "-aHAX", "--checksum", f"{tree}/", copy)
    mounted.remount()
    assert run("rsync", "-aHAX", "--checksum", "--delete", "--itemize-changes", f"{tree}/", copy) == ""
    assert run("rsync", "-aHAX", "--checksum", "--itemize-changes", f"{copy}/", tree) == ""
    assert os.getxattr(copy / victim.name, "user.comment") == b"kept"


def test_rsync_updates_a_file_in_place(mounted: Mounted, scratch: Path) -> None:
    big = scratch / "big"
    big.write_bytes(os.urandom(12 << 20))
    run("rsync", "-a", big, mounted.point)
    with big.open("r+b") as file:
        file.seek(5_000_001)
        file.write(b"changed in the middle")
    run("rsync", "-a", "--inplace", "--no-whole-file", "--ignore-times", big, mounted.point)
    mounted.remount()
    run("cmp", big, mounted.point / "big")


def test_cp_keeps_everything(mounted: Mounted, scratch: Path) -> None:
    tree = source_tree(scratch)
    run("cp", "-a", tree, mounted.point)
    run("cp", "-a", mounted.point / "tree", mounted.point / "second")
    assert (
        run("rsync", "-aHAXn", "--checksum", "--itemize-changes", f"{tree}/", mounted.point / "second") == ""
    )
