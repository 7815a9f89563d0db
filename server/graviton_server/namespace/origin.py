"""Where a database comes from: founded when, and by which load of a dump."""

from __future__ import annotations

import time
from typing import Final

FOUNDED: Final = "SELECT coalesce(min(created), 0) FROM volumes"
FENCE: Final = "SELECT value FROM meta WHERE key = 'fence'"
SET_FENCE: Final = (
    "INSERT INTO meta (key, value) VALUES ('fence', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def now() -> tuple[int, int]:
    """Of a load: its fence, and the first number of an incarnation that no client has heard of."""
    return time.time_ns(), int(time.time())
