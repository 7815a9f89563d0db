"""What the environment says beside the keys: the mode, the memory, JVM flags that mean nothing here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gravitonfs.core.units import parse_size
from gravitonfs.errors import Invalid

SYSTEM_FILE: Final = Path("/etc/graviton/graviton.conf")
_XMX: Final = re.compile(r"-Xmx([0-9]+[kKmMgGtT]?)")


@dataclass(frozen=True)
class Surroundings:
    """``memory``: the sum of all budgets, where it is set. ``production``: nothing internal leaves."""

    production: bool = False
    memory: int | None = None
    warnings: tuple[str, ...] = ()


def surroundings(environment: Mapping[str, str]) -> Surroundings:
    """Raises Invalid, naming the variable."""
    warnings: list[str] = []
    mode = environment.get("GRAVITON_ENV", "")
    if mode.lower() not in ("", "production", "development", "test"):
        warnings.append(f"GRAVITON_ENV={mode} means nothing here: only 'production' does")
    memory = _memory(environment, warnings)
    return Surroundings(mode.lower() == "production", memory, tuple(warnings))


def _memory(environment: Mapping[str, str], warnings: list[str]) -> int | None:
    memory = _java_memory(environment.get("JAVA_OPTS", ""), warnings)
    asked = environment.get("GRAVITON_MEMORY")
    if asked:
        try:
            memory = parse_size(asked)
        except Invalid as error:
            raise Invalid(f"GRAVITON_MEMORY: {error}") from None
    return memory


def _java_memory(options: str, warnings: list[str]) -> int | None:
    try:
        flags = shlex.split(options)
    except ValueError:
        flags = options.split()
    memory, ignored = None, []
    for flag in flags:
        match = _XMX.fullmatch(flag)
        if match is not None:
            memory = parse_size(match[1])
        else:
            ignored.append(flag)
    if ignored:
        warnings.append(f"JAVA_OPTS: this is no Java program, so {' '.join(ignored)} is ignored")
    return memory


def file_to_read(given: str | None, environment: Mapping[str, str]) -> Path | None:
    """``--config``, else ``GRAVITON_CONFIG``, else the system's file where there is one."""
    named = given or environment.get("GRAVITON_CONFIG")
    if named:
        return Path(named)
    return SYSTEM_FILE if SYSTEM_FILE.is_file() else None
