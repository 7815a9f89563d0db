"""What background work asks of the namespace; each call is bounded, so that front ends are not held up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore


class SqlUpkeep:
    """Implements ``Upkeep``."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
