"""What makes the name of a file as durable as its bytes."""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """The names in it, as they are now, survive power loss. OSError as of fsync(2)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
