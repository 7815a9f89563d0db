"""The disk cache in front of a real pack store: what it keeps, and what it survives."""

from __future__ import annotations

import itertools
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from content.cache_filler import filled
from content.caching import MIB, Bench, Wanted, fill, kept, read
from gravitonfs.content.diskcache.cache import DiskCache
from gravitonfs.content.diskcache.store import CachedBlockStore
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged
from gravitonfs.ports.blocks import BlockStore
from gravitonfs.testing.blockstore_suite import BlockStoreSuite, raw
from harness.programs import environment
from harness.waiting import wait_until


class TestAsAnyStore(BlockStoreSuite):
    @pytest.fixture
    def store(self, bench: Bench) -> BlockStore:
        return CachedBlockStore(bench.rig.store, bench.open())


class TestAsAnyStoreThatIsRead(BlockStoreSuite):
    """Every read is made twice, the second one once the first is kept."""

    @pytest.fixture
    def store(self, bench: Bench) -> BlockStore:
        cache = bench.open()

        class Twice(CachedBlockStore):
            def get(self, wanted: Wanted) -> Iterator[bytes]:  # type: ignore[override]
                first = []
                for data in super().get(wanted):
                    first.append(bytes(data))
                    yield first[-1]
                wait_until(lambda: all(kept(cache, wanted)), "the blocks to be kept")
                assert [bytes(data) for data in super().get(wanted)] == first

        return Twice(bench.rig.store, cache)


class TestHits:
    def test_what_was_read_is_read_from_the_disk(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(20)
        fill(bench, cache, wanted)
        before = bench.asked
        store = CachedBlockStore(bench.store, cache)
        assert read(store, wanted) == plain
        assert read(store, list(reversed(wanted))) == plain[::-1]
        assert bench.asked == before
        counters = cache.counters()
        assert (counters.hits, counters.misses, counters.blocks, counters.damaged) == (40, 20, 20, 0)
        assert counters.bytes >= 20 * 200_000

    def test_some_are_there_and_some_are_not(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(30)
        fill(bench, cache, wanted[::3])
        assert read(CachedBlockStore(bench.store, cache), wanted) == plain
        assert cache.counters().hits == 10

    def test_small_blocks_come_with_those_behind_them(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(300, 1000)
        store = CachedBlockStore(bench.store, cache)
        assert len(store.near(*wanted[0], MIB)) == 300
        wait_until(lambda: all(kept(cache, wanted)), "the blocks to be kept")
        before = bench.asked
        found = store.near(*wanted[7], MIB)
        assert found[0] == (wanted[7][0], plain[7])
        assert len(found) > 100
        assert all(plain[[w for w, _ in wanted].index(block)] == data for block, data in found)
        assert bench.asked == before

    def test_an_event_loop_gets_what_the_kernel_has(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(1)
        fill(bench, cache, wanted)
        store = CachedBlockStore(bench.store, cache)
        assert read(store, wanted) == plain  # so that the kernel has it
        assert bytes(store.get_cached(*wanted[0]) or b"") in (plain[0], b"")
        assert store.get_cached(raw(b"other").id, NO_PACK) is None

    def test_keyed_ids(self, bench: Bench, tmp_path: Path) -> None:
        from gravitonfs.core.hashing import block_id

        key = os.urandom(32)
        cache = bench.open(key=key)
        data = os.urandom(5000)
        block = block_id(data, key)
        cache.offer([(block, data)], missed=1)
        wait_until(lambda: cache.find([block])[0], "the block to be kept")
        place = cache.find([block])[0]
        assert place is not None
        assert bytes(cache.read(block, place) or b"") == data


class TestRestart:
    def test_everything_is_there_again(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(50)
        fill(bench, cache, wanted)
        cache.close()
        before = bench.asked
        again = bench.open()
        assert all(kept(again, wanted))
        assert read(CachedBlockStore(bench.store, again), wanted) == plain
        assert bench.asked == before

    def test_after_sigkill(self, bench: Bench) -> None:
        """The process says what it could read from its cache, and kills itself."""
        program = (
            "import os, signal, sys\nfrom pathlib import Path\n"
            "from gravitonfs.content.diskcache.cache import *\nfrom gravitonfs.core.hashing import block_id\n"
            "from harness.waiting import wait_until\n"
            "cache = DiskCache(CacheSettings(Path(sys.argv[1]), 64 << 20, reserve=0), bytes(range(16)))\n"
            "blocks = [bytes([n]) * 150_000 for n in range(60)]\nids = [block_id(b) for b in blocks]\n"
            "for pair in zip(ids, blocks): cache.offer([pair], missed=1)\n"
            "wait_until(lambda: all(cache.find(ids)), 'all to be kept')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = environment()["PYTHONPATH"] + ":" + str(Path(__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-c", program, str(bench.folder)],
            env=environment(PYTHONPATH=path), capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, done.stderr
        cache = bench.open()
        for number in range(60):
            block = raw(bytes([number]) * 150_000)
            place = cache.find([block.id])[0]
            assert place is not None
            assert cache.read(block.id, place) == block.payload

    def test_many_short_runs_do_not_make_many_files(self, bench: Bench) -> None:
        plain, wanted = bench.put(60, 20_000)
        for at in range(0, 60, 3):
            cache = bench.open()
            fill(bench, cache, wanted[at : at + 3])
            cache.close()
        assert len(bench.segments()) == 1
        cache = bench.open()
        before = bench.asked
        assert read(CachedBlockStore(bench.store, cache), wanted) == plain
        assert bench.asked == before
        assert cache.counters().damaged == 0

    def test_killed_at_any_time(self, bench: Bench) -> None:
        """Blocks come in and go; whatever the next process finds is good, and within the budget."""
        path = environment()["PYTHONPATH"] + ":" + str(Path(__file__).parents[1])
        chooser = random.Random(7)
        for turn in range(4):
            child = subprocess.Popen(
                [sys.executable, "-m", "content.cache_filler", str(bench.folder), str(turn)],
                env=environment(PYTHONPATH=path),
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None
            for _ in range(chooser.randrange(1, 40)):
                assert child.stdout.readline()
            child.kill()
            child.communicate()
            cache = bench.open()
            assert bench.size() <= 64 * MIB
            found = 0
            for block in filled(turn):
                place = cache.find([block.id])[0]
                if place is not None:
                    assert cache.read(block.id, place) == block.payload
                    found += 1
            assert found
            assert cache.counters().damaged == 0
            cache.close()

    def test_of_a_smaller_budget_the_newest_stay(self, bench: Bench) -> None:
        cache = bench.open(160 * MIB)
        _, wanted = bench.put(500)
        fill(bench, cache, wanted)
        cache.close()
        cache = bench.open()
        assert bench.size() <= 64 * MIB
        found = kept(cache, wanted)
        assert found[-1]
        assert not found[0]
        assert 200 < sum(found) < 330

    def test_of_a_smaller_memory_too(self, bench: Bench) -> None:
        cache = bench.open(128 * MIB)
        for _ in range(10):
            fill(bench, cache, bench.put(2000, 2000)[1], 500)
        cache.close()
        cache = bench.open(128 * MIB, memory=1)
        assert 0 < cache.counters().blocks < 5000

    def test_what_another_version_wrote_goes(self, bench: Bench) -> None:
        cache = bench.open()
        _, wanted = bench.put(10)
        fill(bench, cache, wanted)
        cache.close()
        for path in bench.segments():
            data = bytearray(path.read_bytes())
            data[8] = 99
            path.write_bytes(data)
        cache = bench.open()
        assert not any(kept(cache, wanted))
        assert bench.segments() == []


class TestDamage:
    """Whatever happens to the files, what is read is right."""

    def check(self, bench: Bench, plain: list[bytes], wanted: Wanted) -> DiskCache:
        cache = bench.open()
        store = CachedBlockStore(bench.store, cache)
        assert read(store, wanted) == plain
        assert store.near(*wanted[3], MIB)[0] == (wanted[3][0], plain[3])
        for pair, data in zip(wanted, plain, strict=True):
            assert (store.get_cached(*pair) or data) == data
        return cache

    def prepared(self, bench: Bench) -> tuple[list[bytes], list[tuple[BlockId, PackNumber]]]:
        plain, wanted = bench.put(60, 30_000)
        cache = bench.open()
        fill(bench, cache, wanted)
        cache.close()
        return plain, wanted

    def test_flipped_bits(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        plain, wanted = self.prepared(bench)
        for path in bench.segments():
            data = bytearray(path.read_bytes())
            for at in range(100, len(data), 40_000):
                data[at] ^= 0x10
            path.write_bytes(data)
        with caplog.at_level(logging.WARNING):
            cache = self.check(bench, plain, wanted)
        assert 30 < cache.counters().damaged < 60
        assert [r.message for r in caplog.records if "was damaged" in r.message] == caplog.messages[:1]
        wait_until(lambda: all(kept(cache, wanted)), "the blocks to be kept again")
        before = bench.asked
        assert read(CachedBlockStore(bench.store, cache), wanted) == plain
        assert bench.asked == before

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "cut footer", "zeroes", "other", "grown", "empty"]),
                st.floats(0, 1),
                st.integers(1, 3000),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_torn_and_mixed_up(self, bench: Bench, harms: list[tuple[str, float, int]]) -> None:
        """How many segments there are, and how long, depends on how quickly they were filled."""
        plain, wanted = self.prepared(bench)
        for path, (way, share, count) in zip(bench.segments(), itertools.cycle(harms), strict=False):
            body = path.read_bytes()
            at = int(share * len(body))
            if way == "cut":
                body = body[:at]
            elif way == "cut footer":
                body = body[: len(body) - count]
            elif way == "zeroes":
                body = body[:at] + bytes(len(body) - at)
            elif way == "other":
                body = body[:at] + random.randbytes(100) + body[at + 100 :]
            elif way == "grown":
                body += bytes(3 * count)
            else:
                body = b""
            path.write_bytes(body)
        self.check(bench, plain, wanted).close()
        for path in bench.segments():
            path.unlink()

    def test_files_that_vanish(self, bench: Bench) -> None:
        plain, wanted = bench.put(60, 30_000)
        cache = bench.open()
        fill(bench, cache, wanted)
        for path in bench.segments():
            path.unlink()
        assert read(CachedBlockStore(bench.store, cache), wanted) == plain

    def test_what_the_store_does_not_have_either_is_told(self, bench: Bench) -> None:
        cache = bench.open()
        unknown = raw(b"never stored").id
        with pytest.raises(Damaged, match=unknown.hex()):
            read(CachedBlockStore(bench.store, cache), [(unknown, NO_PACK)])
