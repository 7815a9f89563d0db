"""What every block store does. A test module subclasses this and gives it a ``store`` fixture."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from gravitonfs.core.codec import decode, encode
from gravitonfs.core.hashing import block_id
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.blocks import Block, BlockStore


def raw(plain: bytes) -> Block:
    return Block(block_id(plain), 0, len(plain), plain)


def packed(plain: bytes) -> Block:
    codec, payload = encode(plain, 1)
    return Block(block_id(plain), codec, len(plain), payload)


def mixed(count: int, size: int) -> tuple[list[bytes], list[Block]]:
    """Random and compressible blocks in turn."""
    plain = [os.urandom(size) if at % 2 else (b"%06d" % at) * (size // 6) for at in range(count)]
    return plain, [packed(data) for data in plain]


def read_all(store: BlockStore, blocks: list[Block], packs: list[PackNumber]) -> list[bytes]:
    wanted = [(block.id, pack) for block, pack in zip(blocks, packs, strict=True)]
    return [bytes(data) for data in store.get(wanted)]


NEVER = PackNumber(999_999)


class BlockStoreSuite:
    def test_blocks_are_readable_at_once_and_after_sync(self, store: BlockStore) -> None:
        plain, blocks = mixed(30, 50_000)
        packs = store.put(blocks)
        assert len(packs) == 30
        assert NO_PACK not in packs
        assert read_all(store, blocks, packs) == plain
        store.sync(packs)
        assert read_all(store, blocks, packs) == plain

    def test_missing_tells_what_is_there(self, store: BlockStore) -> None:
        _, blocks = mixed(5, 1000)
        ids = [block.id for block in blocks]
        assert store.missing(ids) == [NO_PACK] * 5
        packs = store.put(blocks[:3])
        assert store.missing(ids) == [*packs, NO_PACK, NO_PACK]
        assert store.missing([]) == []

    def test_putting_again_stores_nothing(self, store: BlockStore) -> None:
        _, blocks = mixed(10, 20_000)
        packs = store.put(blocks)
        before = store.counters().bytes_put
        assert store.put(blocks) == packs
        assert store.put([blocks[3], blocks[3]]) == [packs[3]] * 2
        assert store.counters().bytes_put == before

    def test_one_call_may_name_a_block_twice(self, store: BlockStore) -> None:
        block = raw(os.urandom(5000))
        other = raw(os.urandom(100))
        packs = store.put([block, other, block])
        assert packs[0] == packs[2]
        assert store.counters().blocks_put == 2
        assert read_all(store, [block, other, block], packs)[2] == block.payload

    def test_payloads_may_be_reused_after_the_call(self, store: BlockStore) -> None:
        plain = os.urandom(100_000)
        buffer = bytearray(plain)
        packs = store.put([Block(block_id(plain), 0, len(plain), memoryview(buffer))])
        buffer[:] = bytes(len(buffer))
        assert bytes(next(store.get([(block_id(plain), packs[0])]))) == plain

    def test_order_and_hints_do_not_matter_to_get(self, store: BlockStore) -> None:
        plain, blocks = mixed(40, 30_000)
        packs = store.put(blocks)
        store.sync(packs)
        order = [7, 7, 39, 0, 1, 2, 20, 19, 18, 5]
        for hints in (packs, [NO_PACK] * 40, [NEVER] * 40):
            wanted = [(blocks[at].id, hints[at]) for at in order]
            assert [bytes(data) for data in store.get(wanted)] == [plain[at] for at in order]

    def test_blocks_as_they_are_stored(self, store: BlockStore) -> None:
        plain, blocks = mixed(40, 30_000)
        packs = store.put(blocks)
        store.sync(packs)
        wanted = [(blocks[at].id, packs[at]) for at in (7, 7, 39, 0, 1, 2, 20)]
        found = list(store.stored(wanted))
        assert [block.id for block in found] == [block for block, _ in wanted]
        assert [bytes(decode(b.codec, b.payload, b.plain_length)) for b in found] == [
            plain[at] for at in (7, 7, 39, 0, 1, 2, 20)
        ]
        with pytest.raises(Damaged):
            list(store.stored([(BlockId(os.urandom(32)), packs[0])]))

    def test_an_unknown_block_is_damaged_and_named(self, store: BlockStore) -> None:
        unknown = BlockId(os.urandom(32))
        known = raw(b"known")
        pack = store.put([known])[0]
        for hint in (NO_PACK, pack, NEVER):
            answers = store.get([(known.id, pack), (unknown, hint), (known.id, pack)])
            assert bytes(next(answers)) == b"known"
            with pytest.raises(Damaged, match=unknown.hex()):
                next(answers)
        assert bytes(next(store.get([(known.id, pack)]))) == b"known"

    def test_get_of_nothing(self, store: BlockStore) -> None:
        assert list(store.get([])) == []

    @pytest.mark.parametrize("size", [1, 2, 63, 64, 4096, 1 << 20])
    def test_sizes(self, store: BlockStore, size: int) -> None:
        for block, plain in ((raw(data := os.urandom(size)), data), (packed(b"z" * size), b"z" * size)):
            packs = store.put([block])
            store.sync(packs)
            assert read_all(store, [block], packs) == [plain]

    def test_get_cached_is_right_or_none(self, store: BlockStore) -> None:
        plain, blocks = mixed(20, 40_000)
        packs = store.put(blocks)
        store.sync(packs)
        for block, data, pack in zip(blocks, plain, packs, strict=True):
            answer = store.get_cached(block.id, pack)
            assert answer is None or bytes(answer) == data
        assert store.get_cached(BlockId(os.urandom(32)), packs[0]) is None

    def test_near_brings_the_block_and_those_behind_it(self, store: BlockStore) -> None:
        plain, blocks = mixed(60, 3000)
        packs = store.put(blocks)
        store.sync(packs)
        known = {block.id: data for block, data in zip(blocks, plain, strict=True)}
        answer = store.near(blocks[10].id, packs[10], 64 << 10)
        assert answer[0][0] == blocks[10].id
        assert len(answer) > 10
        assert len({block for block, _ in answer}) == len(answer)
        assert all(bytes(data) == known[block] for block, data in answer)
        alone = store.near(blocks[0].id, packs[0], 1)
        assert [(block, bytes(data)) for block, data in alone] == [(blocks[0].id, plain[0])]

    def test_near_past_a_sync(self, store: BlockStore) -> None:
        plain, blocks = mixed(20, 1000)
        packs = []
        for block in blocks:
            packs += store.put([block])
            store.sync(packs[-1:])
        answer = store.near(blocks[0].id, packs[0], 1 << 20)
        together = [data for data, pack in zip(plain, packs, strict=True) if pack == packs[0]]
        assert [bytes(data) for _, data in answer] == together

    def test_near_of_an_unknown_block_is_damaged(self, store: BlockStore) -> None:
        with pytest.raises(Damaged):
            store.near(BlockId(os.urandom(32)), NO_PACK, 4096)

    def test_forgotten_packs_are_no_longer_found(self, store: BlockStore) -> None:
        _, blocks = mixed(10, 10_000)
        packs = store.put(blocks)
        store.sync(packs)
        store.forget_packs(packs)
        assert store.missing([block.id for block in blocks]) == [NO_PACK] * 10
        again = store.put(blocks)
        assert not set(again) & set(packs)
        store.sync(again)
        assert store.missing([block.id for block in blocks]) == again

    def test_sync_of_what_is_durable_or_unknown_is_no_error(self, store: BlockStore) -> None:
        packs = store.put([raw(b"x")])
        store.sync(packs)
        store.sync(packs)
        store.sync([])

    def test_counters_count(self, store: BlockStore) -> None:
        blocks = [raw(os.urandom(1000)) for _ in range(4)]
        packs = store.put(blocks)
        store.sync(packs)
        read_all(store, blocks, packs)
        store.missing([block.id for block in blocks])
        counters = store.counters()
        assert (counters.blocks_put, counters.bytes_put) == (4, 4000)
        assert (counters.blocks_read, counters.bytes_read) == (4, 4000)
        assert counters.blocks_found == 4
        assert counters.syncs >= 1

    def test_eight_threads(self, store: BlockStore) -> None:
        shared, shared_blocks = mixed(10, 20_000)

        def work(_number: int) -> None:
            for turn in range(6):
                plain, blocks = mixed(7, 300 if turn % 2 else 60_000)
                packs = store.put(shared_blocks + blocks)
                assert read_all(store, shared_blocks + blocks, packs) == shared + plain
                store.sync(packs)
                assert read_all(store, blocks[::-1], packs[:-8:-1]) == plain[::-1]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
