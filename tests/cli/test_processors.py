"""Threads follow the quota of the control group, wherever in the tree that is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graviton_server.cli.processors import processors


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_the_least_quota_above_the_process_counts(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("0::/pods/graviton\n")
    assert processors(root, groups) == 8
    write(root / "pods" / "graviton" / "cpu.max", "max 100000")
    assert processors(root, groups) == 8
    write(root / "pods" / "cpu.max", "350000 100000")
    assert processors(root, groups) == 4
    write(root / "pods" / "graviton" / "cpu.max", "50000 100000")
    assert processors(root, groups) == 1


def test_version_one(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    groups.write_text("4:cpu,cpuacct:/docker/abc\n")
    write(root / "cpu" / "docker" / "abc" / "cpu.cfs_period_us", "100000")
    write(root / "cpu" / "docker" / "abc" / "cpu.cfs_quota_us", "-1")
    assert processors(root, groups) == 8
    write(root / "cpu" / "docker" / "abc" / "cpu.cfs_quota_us", "200000")
    assert processors(root, groups) == 2
