"""Times as HTTP writes them."""

from __future__ import annotations

import time
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

NANO = 1_000_000_000


def http_date(time_ns: int) -> str:
    return _http(time_ns // NANO)


def iso_date(time_ns: int) -> str:
    return _iso(time_ns // NANO)


def parse_http_date(text: str | None) -> int | None:
    """Seconds since the epoch; None for what is no HTTP date."""
    try:
        return int(parsedate_to_datetime(text or "").timestamp())
    except (ValueError, OverflowError):
        return None


# Files of one tree, and the answers of one second, share their times.
@lru_cache(maxsize=4096)
def _http(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


@lru_cache(maxsize=4096)
def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
