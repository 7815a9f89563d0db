"""Sizes and durations as people write them. KB is 1000, KiB is 1024."""

from __future__ import annotations

import re

from gravitonfs.errors import Invalid

_SIZE = {
    "": 1, "b": 1,
    "k": 1 << 10, "kb": 10**3, "kib": 1 << 10,
    "m": 1 << 20, "mb": 10**6, "mib": 1 << 20,
    "g": 1 << 30, "gb": 10**9, "gib": 1 << 30,
    "t": 1 << 40, "tb": 10**12, "tib": 1 << 40,
}  # fmt: skip
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SECONDS |= {"millis": 0.001, "milliseconds": 0.001}
for _name, _seconds in (("second", 1.0), ("minute", 60.0), ("hour", 3600.0), ("day", 86400.0)):
    _SECONDS |= {_name: _seconds, f"{_name}s": _seconds}
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_size(text: str) -> int:
    """Bytes from ``100MB``, ``64KiB``, ``1g`` (a lone letter is binary) or a plain number."""
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in _SIZE:
        raise Invalid(f"{text!r} is no size; expected a number with B, KB, KiB, MB, MiB, GB, GiB, TB or TiB")
    return int(float(match[1]) * _SIZE[match[2].lower()])


def parse_duration(text: str) -> float:
    """Seconds from ``30s``, ``5m``, ``1h``, ``250ms``, ``2d`` or a plain number of seconds."""
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        raise Invalid(f"{text!r} is no duration; expected a number with ms, s, m, h or d")
    return float(match[1]) * _SECONDS[match[2]]


def format_size(count: float) -> str:
    """``1536`` as ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
