"""The suite of targets, on several as one."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from graviton_server.packs.format import new_uuid, pack_key
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.packs import PackState
from gravitonfs.ports.target import Target
from gravitonfs.testing.target_suite import TargetSuite
from replication.rig import TWO, Store


class TestReplicatedTarget(TargetSuite):
    @pytest.fixture
    def target(self, scratch: Path) -> Iterator[Target]:
        store = Store(scratch / "store", TWO)
        store.open()
        yield store.target
        store.close()


def test_packs_are_put_got_and_deleted_whole(scratch: Path) -> None:
    store = Store(scratch / "store", TWO)
    engine = store.open()
    uuid = new_uuid()
    key, body = pack_key(uuid), b"bytes of a pack"
    engine.namespace_store.packs.begin(uuid, "somebody", PackState.STORING)
    for declared in (0, 5, 99):
        with pytest.raises(Invalid):
            store.target.put(key, BytesIO(body), declared)
    store.target.put(key, BytesIO(body), len(body))
    store.target.put(key, BytesIO(body), len(body))
    assert bytes(store.target.get(key, 6, 99)) == b"of a pack"
    assert store.target.head(key).length == len(body)
    assert [item.key for item in store.target.list("packs/")] == [key]
    assert len(store.packs("a") + store.packs("b") + store.packs("c")) == 2
    store.target.delete(key)
    store.target.delete(key)
    with pytest.raises(NotFound):
        store.target.head(key)
    store.close()
