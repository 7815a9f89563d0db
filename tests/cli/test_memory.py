"""The memory budget follows the control group's limit, wherever in the tree that is set."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from graviton_server.cli.memory import group_limit, memory_budget


def limits(root: Path, **values: str) -> None:
    for path, value in values.items():
        place = root / path.replace("__", "/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "memory.max").write_text(value + "\n")


def test_the_least_limit_above_the_process_counts(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("0::/system.slice/graviton.service\n")
    root = tmp_path / "fs"
    root.mkdir()
    assert group_limit(root, groups) is None
    limits(root, system="1", **{"system.slice__graviton.service": "max"})
    assert group_limit(root, groups) is None
    limits(root, **{"system.slice": "1000000"})
    assert group_limit(root, groups) == 1_000_000
    limits(root, **{"system.slice__graviton.service": "400000"})
    assert group_limit(root, groups) == 400_000


def test_version_one(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("9:name=systemd:/x\n4:memory,hugetlb:/docker/abc\n3:cpu:/y\n")
    place = tmp_path / "fs" / "memory" / "docker" / "abc"
    place.mkdir(parents=True)
    (place / "memory.limit_in_bytes").write_text("123456\n")
    assert group_limit(tmp_path / "fs", groups) == 123_456


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAVITON_MEMORY", "64MiB")
    assert memory_budget(1) == 64 << 20
    for wrong in ("much", "0"):
        monkeypatch.setenv("GRAVITON_MEMORY", wrong)
        with pytest.raises(click.UsageError, match="GRAVITON_MEMORY"):
            memory_budget(1)
