"""graviton config check and show, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from graviton_server.cli.keys import render

HERE = Path(__file__).parent


def graviton(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graviton_server", "config", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip


def test_the_guides_file_is_in_order() -> None:
    found = graviton("check", str(HERE / "guide-production.conf"), GRAVITON_S3_BUCKET="b", AWS_REGION="r")
    assert found.returncode == 0, found.stderr
    assert "in order" in found.stdout
    assert "raised to 5MiB" in found.stderr


def test_a_wrong_file(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("graviton.server.http.prot = 1\n")
    found = graviton("check", str(file))
    assert found.returncode == 1
    assert f"graviton.server.http.prot ({file}, line 1)" in found.stderr
    found = graviton("check", str(file), "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["ok"] is False


def test_the_page_is_made_from_the_keys() -> None:
    page = HERE.parents[1] / "docs" / "configuration.md"
    assert page.read_text() == render(), "python -m graviton_server.cli.keys > docs/configuration.md"


def test_show(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("graviton { server.http.port = 81, database.password = hunter2 }\n")
    found = graviton("show", "--json", GRAVITON_CONFIG=str(file))
    shown = json.loads(found.stdout)["graviton"]
    assert shown["server"]["http"]["port"] == 81
    assert shown["constraints"]["max-blob-size"] == "100GB"
    plain = graviton("show", str(file)).stdout
    assert f"graviton.server.http.port                            81  # {file}, line 1" in plain
    assert "hunter2" not in found.stdout + plain
