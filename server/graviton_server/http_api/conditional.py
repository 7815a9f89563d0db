"""Conditional requests and ranges of what has an entity tag and a time (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import falcon

from graviton_webdav.dates import NANO, parse_http_date
from graviton_webdav.ranges import parse_ranges
from gravitonfs.errors import Conflict

_TAGS: Final = re.compile(r'\s*(?:W/)?("[^"]*"|\*)\s*(?:,|$)')


class Validators(NamedTuple):
    """``etag`` is strong and quoted."""

    etag: str
    mtime_ns: int


def evaluate(req: falcon.Request, found: Validators) -> int | None:
    """304 where a reader has it already, None to go on; Conflict (412) where a condition does not hold."""
    reading = req.method in ("GET", "HEAD")
    if_match = req.get_header("If-Match")
    if if_match is not None:
        if not _matches(if_match, found.etag):
            raise Conflict("If-Match does not hold")
    else:
        since = _date(req, "If-Unmodified-Since")
        if since is not None and found.mtime_ns // NANO > since:
            raise Conflict("it has been modified since")
    none_match = req.get_header("If-None-Match")
    if none_match is not None:
        if _matches(none_match, found.etag):
            if reading:
                return 304
            raise Conflict("If-None-Match does not hold")
    elif reading:
        since = _date(req, "If-Modified-Since")
        if since is not None and found.mtime_ns // NANO <= since:
            return 304
    return None


def wanted_range(req: falcon.Request, size: int, found: Validators) -> tuple[int, int, int]:
    """(start, stop, status). More than one range is answered with the whole, which is allowed; 416."""
    value = req.get_header("Range")
    if value is None or not _range_holds(req.get_header("If-Range"), found):
        return 0, size, 200
    ranges = parse_ranges(value, size)
    if ranges is None or len(ranges) > 1:
        return 0, size, 200
    return (*ranges[0], 206)


def _range_holds(value: str | None, found: Validators) -> bool:
    if value is None:
        return True
    if value.strip().startswith('"'):
        return value.strip() == found.etag
    return parse_http_date(value) == found.mtime_ns // NANO


def _matches(text: str, etag: str) -> bool:
    return any(tag in ("*", etag) for tag in _TAGS.findall(text))


def _date(req: falcon.Request, name: str) -> int | None:
    value = req.get_header(name)
    return None if value is None else parse_http_date(value)
