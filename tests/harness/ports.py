"""Ports for servers that have to be told theirs; all others bind 0 and say what they got."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOWEST: Final = 10_240
_TRIES: Final = 1000
_claims: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """This process's until it ends, although nothing listens on them yet.

    The kernel gives none of them to anybody who binds 0 or connects, and processes that choose like this keep
    apart by a name for each.
    """
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = random.randrange(_LOWEST, _highest())
        if _claimed(port) and _unused(port):
            found.append(port)
    raise AssertionError(f"no {count} ports are free")


def free_port() -> int:
    [port] = free_ports(1)
    return port


def _highest() -> int:
    """Where the kernel's own choice begins."""
    lowest_of_kernel = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest_of_kernel > _LOWEST + 1000, "no ports are left to choose from"
    return lowest_of_kernel


def _claimed(port: int) -> bool:
    """The name is of the abstract kind: it goes with the process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0graviton-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _unused(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with suppress(OSError), socket.socket(family) as other:
            other.connect((host, port))
            return False
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
