"""A sole session on a volume with quotas answers what is sure to fit, and nothing it answered is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from content.test_answering import Rig
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.errors import CrossVolume, QuotaExceeded
from gravitonfs.ports import ops


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "namespace.db")
    yield made
    assert made.answering.surprises == 0
    made.close()


def limited(rig: Rig, *, size: int | None = None, inodes: int | None = None) -> None:
    """More than there is; whoever sets it lets nobody be alone meanwhile."""
    used = rig.store.quotas.set("main", ROOT_INO, None, None)
    most = None if inodes is None else used.inodes + inodes
    rig.store.quotas.set("main", ROOT_INO, None if size is None else used.bytes + size, most)
    with rig.cache.lock:
        rig.cache.known.clear()
    for name in (b"no", b"neither"):
        assert rig.names.lookup(ROOT_INO, name) is None


def calls(rig: Rig) -> int:
    return len(rig.failing.calls)


def test_as_many_as_there_is_room_for(rig: Rig) -> None:
    limited(rig, inodes=6)
    rig.make(b"0")  # asked of the store, as is the room
    before = calls(rig)
    for number in range(1, 6):
        rig.make(b"%d" % number)
    assert calls(rig) == before
    with pytest.raises(QuotaExceeded):
        rig.make(b"6")
    assert rig.has(b"5")
    rig.session.submit((ops.Unlink(ROOT_INO, b"5"),))
    assert rig.make(b"again").ino
    with pytest.raises(QuotaExceeded):
        rig.make(b"more")


def test_bytes(rig: Rig) -> None:
    limited(rig, size=10)
    one, two = rig.make(b"one"), rig.make(b"two")
    extent = rig.plain.extent(0, b"12345")
    rig.write(two, (extent,))  # asked: that its pack may be relied on
    before = calls(rig)
    rig.write(one, (extent,))
    rig.write(two, (extent,))
    assert calls(rig) == before
    with pytest.raises(QuotaExceeded):
        rig.write(one, (extent._replace(offset=1),))
    rig.write(one, (extent,))
    rig.session.submit((ops.Truncate(one.ino, 0),))
    rig.write(two, (extent._replace(offset=5),))
    assert [rig.plain.ns.attr(attr.ino).size for attr in (one, two)] == [0, 10]


def test_what_goes_from_one_quota_to_another_is_asked(rig: Rig) -> None:
    directory = rig.make(b"d", mode=0o040755)
    file = rig.make(b"f")
    rig.names.settle()
    rig.store.quotas.set("main", directory.ino, 1000, 1000)
    limited(rig, inodes=1000)
    rig.make(b"0")
    with pytest.raises(CrossVolume):
        rig.session.submit((ops.Link(file.ino, directory.ino, b"hard"),))
    rig.session.submit((ops.Rename(ROOT_INO, b"f", directory.ino, b"f"),))
    assert rig.plain.ns.lookup(directory.ino, b"f") is not None


def test_without_quotas_nothing_is_asked_again(rig: Rig) -> None:
    before = calls(rig)
    for number in range(100):
        rig.make(b"%d" % number)
    assert calls(rig) == before
