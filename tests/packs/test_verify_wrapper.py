"""Blocks from outside are checked before they are stored."""

from __future__ import annotations

import os

import pytest

from gravitonfs.content.verify import VerifyingBlockStore
from gravitonfs.core.ids import NO_PACK
from gravitonfs.errors import Invalid
from gravitonfs.ports.blocks import Block
from packs.rig import Rig, block, random_blocks


@pytest.mark.parametrize(
    "bad",
    [
        block(b"right")._replace(payload=b"wrong"),
        block(b"right")._replace(plain_length=4),
        block(b"right" * 100, level=1)._replace(codec=0),
        block(b"right")._replace(codec=1),
        block(b"right")._replace(codec=77),
        block(b""),
        block(os.urandom(2000)),
    ],
)
def test_a_block_that_is_not_what_it_says_stores_nothing(rig: Rig, bad: Block) -> None:
    store = VerifyingBlockStore(rig.store, block_max=1999)
    good = random_blocks(2, 100)
    with pytest.raises(Invalid):
        store.put([good[0], bad, good[1]])
    assert store.missing([good[0].id, bad.id, good[1].id]) == [NO_PACK] * 3
