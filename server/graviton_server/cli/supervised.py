"""What systemd is told of a service (sd_notify(3)); without systemd nothing."""

from __future__ import annotations

import contextlib
import os
import socket


def tell(*lines: str) -> None:
    """As ``READY=1``. Nobody waits, and nothing fails for it."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto("\n".join(lines).encode(), address)


def storing(left: str) -> None:
    """A stop that takes long is one that goes on: what was accepted is still being stored."""
    tell("STOPPING=1", f"STATUS=storing what is left: {left}", "EXTEND_TIMEOUT_USEC=30000000")
