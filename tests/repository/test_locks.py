"""The locks: complete, pinned by hash, and without addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.txt", "requirements-build.txt", "requirements-dev.txt", "requirements-programs.txt"]


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def locked(lock: str) -> list[str]:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_by_hash_and_names_no_address(lock: str) -> None:
    for line in locked(lock):
        assert re.fullmatch(r"[a-z0-9.-]+==\S+( ;[^-]*)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line), line


def test_the_locks_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    for lock, wanted in zip(
        LOCKS,
        [project["project"]["dependencies"], groups["build"], groups["dev"], groups["programs"]],
        strict=True,
    ):
        missing = names(wanted) - names(locked(lock))
        assert not missing, f"{lock} lacks {sorted(missing)}: run tools/lock"


def test_a_package_has_one_version_in_all_locks() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for line in locked(lock):
            name, version = line.split()[0].split("==")
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
