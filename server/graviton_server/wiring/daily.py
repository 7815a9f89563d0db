"""What is due once a day, in a loop that comes round more often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_DAY: Final = 86400.0


class Daily:
    """Calls at most once a day, and with the first call; from one thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._next = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _DAY
            self._call()
