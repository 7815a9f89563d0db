"""Whether a journal may answer for bytes: not where the volume has quotas, and may refuse them later."""

from __future__ import annotations

import threading
import time
from typing import Final

from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Namespace

_EVERY: Final = 5.0


class Bounded:
    """Asked when the store has just taken something, so that nobody waits for a store that is away."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._asked = float("-inf")
        self.known = False
        """The volume had quotas when it was last asked."""

    def ask_soon(self) -> None:
        """Without waiting, where it was not asked a moment ago."""
        if time.monotonic() - self._asked > _EVERY:
            self._asked = time.monotonic()
            threading.Thread(target=self.ask, name="bounded", daemon=True).start()

    def ask(self) -> None:
        """Waits for the store."""
        try:
            self.known = self._namespace.room(None) is not None
        except GravitonError:
            pass  # what is known stays so
