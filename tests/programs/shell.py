"""Running other people's programs on a mount."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest


def run(*command: str | os.PathLike[str], cwd: Path | None = None, timeout: float = 100) -> str:
    """Run a program, which must succeed; what it prints. Skips the test where it is not installed."""
    if shutil.which(os.fspath(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@localhost",
    }
    result = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, (
        f"{command} ended with {result.returncode}:\n{result.stdout}{result.stderr}"
    )
    return result.stdout


def source_tree(where: Path, files: int = 250) -> Path:
    """A real tree of source files with folders, links, odd modes and old times, outside the mount."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    tree = where / "tree"
    for number, path in enumerate(sorted(stdlib.rglob("*.py"))[:files]):
        target = tree / path.relative_to(stdlib)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, ns=(10**18, 10**18 + number * 1_234_567))
    first = sorted(path for path in tree.rglob("*.py"))[0]
    first.chmod(0o751)
    os.link(first, tree / "hard link")
    (tree / "symlink").symlink_to(first.relative_to(tree))
    (tree / "empty").touch()
    (tree / "empty directory").mkdir()
    (
        tree
        / "name with\nnewline and \udcff".encode("utf-8", "surrogateescape").decode(
            "utf-8", "surrogateescape"
        )
    ).touch()
    with (tree / "sparse").open("wb") as sparse:
        sparse.truncate(5 << 20)
        sparse.seek(3 << 20)
        sparse.write(b"in the middle")
    return tree
