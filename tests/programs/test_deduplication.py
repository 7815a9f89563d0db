"""Deduplication as stored bytes, on real data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.programs import ROOT
from programs.conftest import Mounted
from programs.shell import run

pytestmark = pytest.mark.mount

RELEASES = ["sympy==1.13.2", "sympy==1.13.3"]
DOWNLOADS = ROOT / ".bench" / "releases"


def releases() -> list[Path]:
    """Two successive releases of a real package (pure Python: a wheel is its source), kept between runs."""
    found = []
    for release in RELEASES:
        folder = DOWNLOADS / release.replace("==", "-")
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), release]
            if subprocess.run(command, check=False, capture_output=True).returncode:
                pytest.skip(f"{release} cannot be downloaded here")
        found += folder.glob("*.whl")
    return found


def test_the_next_release_of_a_source_tree_costs_little(mounted: Mounted) -> None:
    sizes = []
    for number, wheel in enumerate(releases()):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(mounted.point / f"release-{number}")
        mounted.remount()
        sizes.append(mounted.stored_bytes())
    first, both = sizes
    print(f"stored: {first:,} bytes after the first release, {both - first:,} more after the second")
    assert both - first < first * 0.15


def test_bytes_inserted_at_the_front_cost_a_few_blocks(mounted: Mounted) -> None:
    data = os.urandom(64 << 20)
    (mounted.point / "plain").write_bytes(data)
    mounted.remount()
    before = mounted.stored_bytes()
    (mounted.point / "shifted").write_bytes(b"seven77" + data)
    mounted.remount()
    assert mounted.stored_bytes() - before < len(data) * 0.05
    run("cmp", "-i", "7:0", mounted.point / "shifted", mounted.point / "plain")


def test_the_same_file_again_costs_nothing_but_its_name(mounted: Mounted) -> None:
    data = os.urandom(32 << 20)
    (mounted.point / "one").write_bytes(data)
    mounted.remount()
    before = mounted.stored_bytes()
    for number in range(5):
        (mounted.point / f"copy-{number}").write_bytes(data)
    mounted.remount()
    assert mounted.stored_bytes() - before < len(data) * 0.01


def test_compressible_bytes_are_stored_smaller(mounted: Mounted) -> None:
    text = "".join(f"line {number} of a log that says much the same\n" for number in range(400_000))
    (mounted.point / "log").write_text(text)
    mounted.remount()
    assert mounted.stored_bytes() < len(text) / 4
