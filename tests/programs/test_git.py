"""git works on a mount as on any disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.conftest import Mounted
from programs.shell import run, source_tree

pytestmark = pytest.mark.mount


def test_a_clone_is_whole_and_takes_commits(mounted: Mounted, scratch: Path) -> None:
    origin = source_tree(scratch)
    run("git", "init", "-q", cwd=origin)
    run("git", "add", "-A", cwd=origin)
    run("git", "commit", "-qm", "first", cwd=origin)
    clone = mounted.point / "clone"
    run("git", "clone", "-q", origin, clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""
    assert (
        run("diff", "-r", "--no-dereference", "--exclude=.git", "--exclude=empty directory", origin, clone)
        == ""
    )
    changed = sorted(clone.glob("*.py"))[0]
    changed.write_text(changed.read_text() + "# changed\n")
    run("git", "commit", "-qam", "second", cwd=clone)
    run("git", "gc", "-q", cwd=clone)
    mounted.remount()
    run("git", "fsck", "--full", "--strict", cwd=clone)
    assert run("git", "log", "--format=%s", cwd=clone).split() == ["second", "first"]
    assert run("git", "status", "--porcelain", cwd=clone) == ""


def test_branches_are_switched_and_worktrees_made(mounted: Mounted, scratch: Path) -> None:
    tree = mounted.point / "repository"
    run("cp", "-a", source_tree(scratch, 150), tree)
    run("git", "init", "-q", "-b", "main", cwd=tree)
    run("git", "add", "-A", cwd=tree)
    run("git", "commit", "-qm", "all", cwd=tree)
    run("git", "checkout", "-qb", "fewer", cwd=tree)
    run("git", "rm", "-rq", "*.py", cwd=tree)
    run("git", "commit", "-qm", "fewer", cwd=tree)
    run("git", "checkout", "-q", "main", cwd=tree)
    run("git", "worktree", "add", "-q", mounted.point / "beside", "fewer", cwd=tree)
    assert run("git", "status", "--porcelain", cwd=tree) == ""
    assert not list((mounted.point / "beside").glob("*.py"))
