"""Ordinary users, for tests of permissions: no account is needed, only the numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class User(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def run(
        self, *command: str | os.PathLike[str], cwd: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, without any of the caller's groups."""
        result = subprocess.run(
            [os.fspath(part) for part in command],
            cwd=cwd or Path("/"),
            user=self.uid,
            group=self.gid,
            extra_groups=list(self.groups),
            umask=0o022,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"{command} as {self.uid} failed ({result.returncode}): {result.stderr}")
        return result

    def python(self, code: str, *arguments: str | os.PathLike[str]) -> str:
        """Run Python code as this user; what it prints, or its errno's name when a call is refused."""
        refused = "except OSError as error:\n print(errno.errorcode[error.errno])"
        guarded = f"import errno, os, sys\ntry:\n{_indent(code)}\n{refused}"
        python = _python_for_everyone()
        return self.run(python, "-I", "-c", guarded, *arguments).stdout.strip()


def _indent(code: str) -> str:
    return "\n".join(f" {line}" for line in code.splitlines())


def _python_for_everyone() -> str:
    """The interpreter of the tests may lie where only root may go."""
    for candidate in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        if os.path.exists(candidate) and all(
            os.stat(parent).st_mode & 0o001 for parent in Path(candidate).parents
        ):
            return candidate
    raise AssertionError("no python3 that ordinary users may run: install python3")


def ordinary_users() -> Sequence[User]:
    """Two users without anything in common, and a third in the second's group."""
    return User(54301, 54301), User(54302, 54302), User(54303, 54303, (54302,))
