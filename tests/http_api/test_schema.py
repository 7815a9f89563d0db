"""/openapi.json: what the API says of itself is so, also when it is called with nonsense."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.programs import environment

# What is asked for there is a directory of a volume; that the volume was made just now makes none of them.
UNAVAILABLE = """
[[operations]]
include-operation-id = "checkQuotas"
checks.ensure_resource_availability.enabled = false
"""


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(daemon: Callable[..., Any], tmp_path: Path) -> None:
    one = daemon()
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        program, "run", f"{one.url}/openapi.json", "--max-examples", "25", "--seed", "1", "--no-color",
        "--phases", "examples,coverage,fuzzing,stateful",
        "--request-timeout", "30", "--generation-deterministic",
    ]  # fmt: skip
    (tmp_path / "schemathesis.toml").write_text(UNAVAILABLE)
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=580, cwd=tmp_path,
        env={**environment(), "HOME": os.fspath(tmp_path)},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert one.api("GET", "/health/ready").status == 200


def test_every_route_is_described(daemon: Callable[..., Any]) -> None:
    one = daemon()
    paths = one.api("GET", "/openapi.json").json["paths"]
    assert {"/api/v1/blobs", "/api/v1/files/{path}", "/api/v1/uploads/{upload}", "/health"} <= set(paths)
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(names) == len(set(names))
