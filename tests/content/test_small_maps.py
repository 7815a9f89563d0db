"""Maps that were read ahead: bounded, and forgotten when the database may be another one."""

from __future__ import annotations

from gravitonfs.content.maps import SmallMaps
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import BlockId, ContentId, PackNumber


def extents(count: int) -> tuple[Extent, ...]:
    return tuple(Extent(at * 10, 10, BlockId(bytes(32)), 0, PackNumber(1)) for at in range(count))


def test_the_oldest_go_first() -> None:
    maps = SmallMaps(limit=40)
    for number in range(1, 100):
        maps.add({ContentId(number): extents(3)}, maps.epoch)
    assert [number for number in range(1, 100) if ContentId(number) in maps] == list(range(90, 100))
    maps.drop(ContentId(95))
    assert maps.get(ContentId(95)) is None
    maps.add({ContentId(100): extents(3)}, maps.epoch)
    assert ContentId(90) in maps


def test_what_was_asked_before_is_not_added_after() -> None:
    maps = SmallMaps()
    epoch = maps.epoch
    maps.add({ContentId(1): extents(1)}, epoch)
    maps.clear()
    maps.add({ContentId(2): extents(1)}, epoch)
    assert ContentId(1) not in maps
    assert ContentId(2) not in maps
