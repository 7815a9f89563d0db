"""Which targets a pack belongs on: rendezvous hashing with weights. Pure functions.

A target's score for a pack depends on these two alone, so that adding or removing a target moves only what
comes to it or leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

SIMPLE: Final = "simple"
ZONE_AWARE: Final = "zone-aware"
_RANGE: Final = 1 << 64


class Place(NamedTuple):
    """A target as placement sees it. ``copies`` in ``zones`` is what it keeps by itself."""

    number: int
    name: str
    zone: str
    weight: float = 1.0
    copies: int = 1
    zones: int = 1


class Wish(NamedTuple):
    """How many copies, in how many zones at least; ``spread``: in as many zones as there are."""

    factor: int = 1
    min_zones: int = 1
    strategy: str = ZONE_AWARE

    def capped(self, places: Sequence[Place]) -> Wish:
        """What these targets, all that are configured, can give."""
        return self._replace(
            factor=max(1, min(self.factor, copies_of(places))),
            min_zones=max(1, min(self.min_zones, zones_of(places))),
        )

    @property
    def floor(self) -> Wish:
        """What a write must have reached to be acknowledged while targets fail."""
        return self._replace(factor=min(self.factor, 2))

    def met_by(self, places: Sequence[Place]) -> bool:
        return copies_of(places) >= self.factor and zones_of(places) >= self.min_zones


def copies_of(places: Iterable[Place]) -> int:
    return sum(place.copies for place in places)


def zones_of(places: Iterable[Place]) -> int:
    """Zones by name; one that is several by itself counts as so many."""
    found: dict[str, int] = {}
    for place in places:
        found[place.zone] = max(found.get(place.zone, 0), place.zones)
    return sum(found.values())


def ranked(pack: bytes, places: Iterable[Place]) -> list[Place]:
    """Best first. Those of weight 0 take nothing."""
    scored = [(_score(pack, place), place) for place in places if place.weight > 0]
    return [place for _, place in sorted(scored, key=lambda one: (-one[0], one[1].name))]


def _score(pack: bytes, place: Place) -> float:
    digest = blake3(pack + place.name.encode()).digest(length=8)
    at = (int.from_bytes(digest, "little") + 0.5) / _RANGE
    return place.weight / -math.log(at) if at < 1.0 else math.inf


def chosen(pack: bytes, places: Sequence[Place], wish: Wish) -> list[Place]:
    """Where a pack belongs; best first, as many as it takes. The wish is capped by what there is."""
    order = ranked(pack, places)
    wish = wish.capped(order)
    spread = wish.factor if wish.strategy == ZONE_AWARE else wish.min_zones
    found: list[Place] = []
    for place in order:
        if wish.met_by(found) or zones_of(found) >= max(spread, wish.min_zones):
            break
        if all(place.zone != other.zone for other in found):
            found.append(place)
    for place in order:
        if wish.met_by(found):
            break
        if place not in found:
            found.append(place)
    kept = set(found)
    return [place for place in order if place in kept]
