"""A virtual environment on a mount: made, installed into, run from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.programs import ROOT
from programs.conftest import Mounted
from programs.shell import run

pytestmark = pytest.mark.mount


@pytest.mark.timeout(300)
def test_a_package_is_installed_and_imported(mounted: Mounted, scratch: Path) -> None:
    wheels = scratch / "wheels"
    options = ["--no-deps", "--no-build-isolation", "--quiet"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", wheels, ROOT, timeout=200)
    environment = mounted.point / "venv"
    run(sys.executable, "-m", "venv", environment, timeout=200)
    python = environment / "bin" / "python"
    run(
        python,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--find-links",
        wheels,
        "gravitonfs",
        timeout=200,
    )
    mounted.remount()
    told = run(python, "-c", "import gravitonfs.errors; print(gravitonfs.__file__)")
    assert Path(told.strip()).is_relative_to(mounted.point)
    assert "gravitonfs" in run(python, "-m", "pip", "list", timeout=200)
    run(python, "-m", "pip", "uninstall", "--yes", "gravitonfs", timeout=200)
    assert "gravitonfs" not in run(python, "-m", "pip", "list", timeout=200)
