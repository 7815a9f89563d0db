"""The generated code is what the protos say; the messages are understood by the services that have them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_has_not_drifted(tmp_path: Path) -> None:
    subprocess.run([ROOT / "tools" / "protos", tmp_path], check=True, cwd=ROOT)
    made = {
        path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*") if path.is_file()
    }
    folder = ROOT / "gravitonfs" / "gravitonfs" / "rpc"
    kept = {
        path.relative_to(ROOT / "gravitonfs"): path.read_bytes()
        for path in folder.rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    assert sorted(made) == sorted(kept)
    assert [str(path) for path in made if made[path] != kept[path]] == [], "run tools/protos"
