"""A note of each mount with a journal for 'umount', as it cannot be asked while its daemon is away."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from graviton_server.cli.journals import state_directory


def _path(mountpoint: str) -> Path:
    return state_directory() / "mounts" / f"{mountpoint.strip('/').replace('/', '-')}.json"


def note(told: dict[str, object]) -> None:
    path = _path(str(told["mountpoint"]))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps(told))


def forget(mountpoint: str) -> None:
    _path(mountpoint).unlink(missing_ok=True)


def noted(mountpoint: str) -> dict[str, Any] | None:
    """None where there is no note, or the process that it is of has ended."""
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(_path(mountpoint).read_text())
        if told.get("mountpoint") == mountpoint and _is_mounting(int(told["pid"])):
            return dict(told)
    return None


def _is_mounting(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"mount" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
