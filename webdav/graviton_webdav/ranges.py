"""Byte ranges of a GET (RFC 9110, section 14)."""

from __future__ import annotations

import re

from graviton_webdav.faults import Refused

_SPEC = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*")
_MAX = 64


def parse_ranges(value: str, size: int) -> list[tuple[int, int]] | None:
    """The [start, stop)s asked for; None where the header is to be ignored; 416 where none can be had.

    Overlapping and neighbouring ranges are joined, so that a request never costs more than the file.
    """
    unit, equals, specs = value.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    parts = specs.split(",")
    if len(parts) > _MAX:
        return None
    found: list[tuple[int, int]] = []
    for part in parts:
        match = _SPEC.fullmatch(part)
        if match is None or len(part) > 64:
            return None
        first, last = match.groups()
        if not first and not last:
            return None
        if not first:
            start, stop = max(0, size - int(last)), size
        else:
            if last and int(last) < int(first):
                return None
            start, stop = int(first), min(size, int(last) + 1) if last else size
        if start < stop:
            found.append((start, stop))
    if not found:
        raise Refused(416, "the file has no such range", headers=[("Content-Range", f"bytes */{size}")])
    return _joined(found)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    result: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result
