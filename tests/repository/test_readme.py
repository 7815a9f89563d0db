"""What the README tells people to try works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.programs import Graviton, environment

pytestmark = pytest.mark.mount

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = "/usr/share/doc"
ADDRESS = "http://127.0.0.1:8081/"


def to_try() -> list[str]:
    """The lines of the block behind "While it runs, try"."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"While it runs, try:\n\n```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def small_tree(path: Path, lines: list[str]) -> None:
    """Something in place of a machine's documents, with the files that the lines name."""
    for index in range(20):
        (path / f"package-{index}").mkdir(parents=True)
        (path / f"package-{index}" / "changelog").write_bytes(b"%d\n" % index * 5000)
    for named in re.findall(r"mnt/(?:one|two|three)/(\S+)", "\n".join(lines)):
        (path / named).parent.mkdir(parents=True, exist_ok=True)
        (path / named).write_text("a page\n")


def test_what_to_try(graviton: Graviton, scratch: Path) -> None:
    lines = to_try()
    small_tree(scratch / "doc", lines)
    up = graviton.start("up", "--data", "graviton-data", "--mount", "mnt", "--webdav", "127.0.0.1:0")
    address = up.ready_line().partition("webdav=")[2].strip()
    program = f"{shlex.quote(sys.executable)} -m graviton_server"
    for line in lines:
        command = line.replace(DOCUMENTS, "doc").replace(ADDRESS, address)
        command = command.replace(".venv/bin/graviton", program)
        if shutil.which(command.split()[0]) is None:
            continue  # not every machine has curl
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=scratch,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert (scratch / "mnt" / "three" / "package-7" / "changelog").read_bytes() == b"7\n" * 5000
    assert up.stop() == 0
