"""Names of processes, by which others on the same machine can tell that one is gone."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_DEAD = "ZX"


def myself() -> str:
    """Empty where the system does not tell."""
    started = _started(os.getpid())
    return f"{_machine()}/{os.getpid()}/{started[0]}" if _machine() and started else ""


def is_gone(name: str) -> bool:
    """It ran on this machine, where this process would see it, and does so no more. False where that is
    not known."""
    machine, _, rest = name.rpartition("/")
    machine, _, number = machine.rpartition("/")
    if not machine or machine != _machine() or not number.isdigit():
        return False
    if not _is_there(int(number)):
        return True
    found = _started(int(number))  # nothing where /proc hides the processes of others
    return found is not None and (found[0] != rest or (found[1] in _DEAD and found[2] <= 1))


def _is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # somebody else's
    return True


@cache
def _machine() -> str:
    """This boot of it, and the numbering of processes that is seen from here."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(number: int) -> tuple[str, str, int] | None:
    """When a process began, its state, its threads; None where there is none."""
    try:
        fields = (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19], fields[0], int(fields[17])
