"""How many copies are asked for, and how they are looked after."""

from __future__ import annotations

import msgspec

from graviton_server.replication.placement import ZONE_AWARE, Wish

MB = 10**6


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, and bytes a second. ``patience``: how long a write waits for its last copies once there are
    enough of them."""

    factor: int = 1
    min_zones: int = 1
    strategy: str = ZONE_AWARE
    repair: bool = True
    interval: float = 300.0
    jobs: int = 4
    move_rate: int = 50 * MB
    patience: float = 20.0

    @property
    def wish(self) -> Wish:
        return Wish(self.factor, self.min_zones, self.strategy)

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Settings:
        """What nobody has saved yet is the default."""
        return msgspec.json.decode(data, type=cls) if data else cls()
