"""How an engine is opened."""

from __future__ import annotations

from dataclasses import dataclass

from graviton_server.maintenance.chores import Settings as UpkeepSettings
from graviton_server.packs.store import PACK_SIZE
from graviton_server.replication.settings import Settings as Replication
from gravitonfs.content.diskcache.cache import CacheSettings

MIB = 1 << 20


@dataclass(frozen=True)
class EngineOptions:
    """Budgets in bytes. ``memory`` is the sum of all of them; parts are shares of it unless given."""

    memory: int = 512 * MIB
    cache: int | None = None
    processors: int | None = None
    """Numbers of threads follow it; None: what the machine has."""
    background: bool = True
    """Run collection, compaction and the rest by itself."""
    maintenance: UpkeepSettings | None = None
    pack_size: int = PACK_SIZE
    upload_limit: int | None = None
    """Bytes a second that front ends may put into packs."""
    download_limit: int | None = None
    """Bytes a second that front ends may read from packs."""
    max_file_size: int | None = None
    """Bytes of a file, where that is less than the volume's format allows."""
    trash_days: int = 1
    """How long what was removed stays in the trash; 0: nothing goes there."""
    trash_min_age: float = 10.0
    """What lived for less (seconds) does not go there."""
    replication: Replication | None = None
    """What the configuration asks for, for a store that gets a second target while it is open."""
    disk_cache: CacheSettings | None = None
    """Of blocks that front ends read, where packs are behind a network. Its memory is counted by itself."""

    @property
    def cache_limit(self) -> int:
        if self.cache is not None:
            return self.cache
        return self.memory * 9 // 16

    @property
    def trash_age_ns(self) -> int | None:
        """How old a file has to be to go to the trash; None: nothing does."""
        return int(self.trash_min_age * 1e9) if self.trash_days else None

    @property
    def dirty_limit(self) -> int:
        return self.memory // 4

    @property
    def names_limit(self) -> int:
        """Of a mount that may be alone."""
        return self.memory // 16
