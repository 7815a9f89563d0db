"""The disk cache in front of a real pack store: what it keeps, what it survives, what it never costs."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gravitonfs.content.diskcache import cache as module
from gravitonfs.content.diskcache.cache import CacheSettings, DiskCache
from gravitonfs.content.diskcache.store import CachedBlockStore
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, Invalid
from gravitonfs.ports.blocks import Block, BlockStore
from gravitonfs.testing.blockstore_suite import BlockStoreSuite, mixed, raw
from gravitonfs.testing.faulty import Faults, FaultyBlockStore
from harness.programs import environment
from harness.waiting import wait_until
from packs.rig import Rig

MIB = 1 << 20
STORE = bytes(range(16))


class Bench:
    """A pack store that counts what it is asked for, and caches in front of it."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "cache"
        self.rig = Rig(place / "rig", pack_size=32 * MIB)
        self.faults = Faults()
        self.store: BlockStore = FaultyBlockStore(self.rig.store, self.faults)
        self.opened: list[DiskCache] = []

    def open(
        self, budget: int = 64 * MIB, memory: int = 64 * MIB, store: bytes = STORE, key: bytes = b""
    ) -> DiskCache:
        made = DiskCache(CacheSettings(self.folder, budget, memory), store, key)
        self.opened.append(made)
        return made

    @property
    def asked(self) -> int:
        return self.faults.calls["get"] + self.faults.calls["near"]

    def put(self, count: int, size: int = 200_000) -> tuple[list[bytes], list[tuple[BlockId, PackNumber]]]:
        plain = [random.randbytes(size) for _ in range(count)]
        return plain, self.put_all([raw(data) for data in plain])

    def put_all(self, blocks: Sequence[Block]) -> list[tuple[BlockId, PackNumber]]:
        packs = self.rig.store.put(blocks)
        return [(block.id, pack) for block, pack in zip(blocks, packs, strict=True)]

    def size(self) -> int:
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
        return total

    def segments(self) -> list[Path]:
        return sorted(self.folder.rglob("*.segment"))

    def close(self) -> None:
        for cache in self.opened:
            cache.close()
        self.rig.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "_IDLE", 0.01)  # what is not a window full is kept at once
    (tmp_path / "rig").mkdir()
    made = Bench(tmp_path)
    yield made
    made.close()


Wanted = Sequence[tuple[BlockId, PackNumber]]


def read(store: BlockStore, wanted: Wanted) -> list[bytes]:
    return [bytes(data) for data in store.get(wanted)]


def kept(cache: DiskCache, wanted: Wanted) -> list[bool]:
    return [place is not None for place in cache.find([block for block, _ in wanted])]


def fill(bench: Bench, cache: DiskCache, wanted: Wanted, step: int = 16) -> None:
    """Read, and wait until all of it is kept; slowly enough that nothing is dropped."""
    store = CachedBlockStore(bench.store, cache)
    for at in range(0, len(wanted), step):
        part = wanted[at : at + step]
        read(store, part)
        wait_until(lambda part=part: all(kept(cache, part)), "the blocks to be kept")  # type: ignore[misc]


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
            "cache = DiskCache(CacheSettings(Path(sys.argv[1]), 64 << 20), bytes(range(16)))\n"
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
    @given(st.data())
    def test_torn_and_mixed_up(self, bench: Bench, data: st.DataObject) -> None:
        plain, wanted = self.prepared(bench)
        for path in bench.segments():
            body = path.read_bytes()
            way = data.draw(st.sampled_from(["cut", "cut footer", "zeroes", "other", "grown", "empty"]))
            at = data.draw(st.integers(0, len(body)))
            if way == "cut":
                body = body[:at]
            elif way == "cut footer":
                body = body[: len(body) - data.draw(st.integers(1, 3000))]
            elif way == "zeroes":
                body = body[:at] + bytes(len(body) - at)
            elif way == "other":
                body = body[:at] + random.randbytes(100) + body[at + 100 :]
            elif way == "grown":
                body += bytes(data.draw(st.integers(1, 10_000)))
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


class TestFailingDisk:
    def test_a_full_disk_costs_one_warning(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = bench.open()
        plain, wanted = bench.put(40)
        fill(bench, cache, wanted[:10])
        real, full = os.pwrite, True

        def pwrite(fd: int, data: bytes, offset: int) -> int:
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)
        store = CachedBlockStore(bench.store, cache)
        for _ in range(3):
            assert read(store, wanted) == plain
        wait_until(lambda: caplog.messages, "the warning")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "No space left" in caplog.messages[0]
        assert str(cache.path) in caplog.messages[0]
        assert all(kept(cache, wanted[:10]))
        full = False
        monkeypatch.setattr(cache, "_paused_until", 0.0)  # a minute later
        fill(bench, cache, wanted)

    def test_a_disk_without_room_gives_up_what_is_kept(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = bench.open()
        _, wanted = bench.put(100)
        fill(bench, cache, wanted)
        free = os.statvfs(bench.folder)
        more = bench.put(60)[1]
        monkeypatch.setattr(os, "statvfs", lambda path: _Full(free))
        for pair in more:
            read(CachedBlockStore(bench.store, cache), [pair])
        wait_until(lambda: bench.size() < 8 * MIB, "the cache to make room")

    def test_a_medium_that_cannot_be_read(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = bench.open()
        plain, wanted = bench.put(20)
        fill(bench, cache, wanted)

        def fails(self: object, offset: int, length: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr("gravitonfs.content.diskcache.segment.Segment.read", fails)
        store = CachedBlockStore(bench.store, cache)
        assert read(store, wanted) == plain
        assert store.near(*wanted[0], MIB)[0][1] == plain[0]
        assert sum("cannot be read" in message for message in caplog.messages) == 1

    def test_without_direct_writes(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.O_DIRECT", 0o20000000 | 0o100000 | 0o200000)  # refused everywhere
        cache = bench.open()
        _, wanted = bench.put(20)
        fill(bench, cache, wanted)


class _Full:
    def __init__(self, real: os.statvfs_result) -> None:
        self.f_frsize, self.f_blocks, self.f_bavail = real.f_frsize, real.f_blocks, 0


class TestBudget:
    def test_it_holds_at_every_moment(self, bench: Bench) -> None:
        budget = module.SMALLEST
        cache = bench.open(budget)
        most, done = [0], threading.Event()

        def watch() -> None:
            while not done.is_set():
                most[0] = max(most[0], bench.size())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(5):
                _, wanted = bench.put(200)
                fill(bench, cache, wanted)
                fill(bench, cache, wanted[-20:])
        finally:
            done.set()
            watcher.join()
        assert budget // 2 < most[0] <= budget
        counters = cache.counters()
        assert counters.evicted > 100
        assert counters.bytes <= budget
        cache.close()
        assert bench.size() <= budget

    def test_what_is_used_again_outlives_a_scan(self, bench: Bench) -> None:
        cache = bench.open()
        plain, hot = bench.put(20)
        fill(bench, cache, hot)
        store = CachedBlockStore(bench.store, cache)
        assert read(store, hot) == plain
        for _ in range(5):
            fill(bench, cache, bench.put(200)[1])
        assert all(kept(cache, hot))
        before = bench.asked
        assert read(store, hot) == plain
        assert bench.asked == before

    def test_who_comes_back_soon_is_protected(self, bench: Bench) -> None:
        cache = bench.open()
        _, late = bench.put(10)
        fill(bench, cache, late)
        fill(bench, cache, bench.put(350)[1])
        assert not any(kept(cache, late))
        fill(bench, cache, late)
        for _ in range(2):
            fill(bench, cache, bench.put(200)[1])
        assert all(kept(cache, late))

    def test_the_index_is_bounded(self, bench: Bench) -> None:
        cache = bench.open(64 * MIB, memory=1)
        for _ in range(4):
            fill(bench, cache, bench.put(3000, 300)[1], 100)
        assert 0 < cache.counters().blocks <= 4096

    def test_a_reader_never_waits_for_the_disk(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the disk does not take in time is not kept."""
        cache = bench.open(128 * MIB, memory=8 * MIB)
        plain, wanted = bench.put(100)
        stuck = threading.Event()
        real = os.pwrite

        def pwrite(fd: int, data: bytes, offset: int) -> int:
            assert stuck.wait(60)
            return real(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)
        try:
            assert read(CachedBlockStore(bench.store, cache), wanted) == plain
            assert cache.counters().dropped > 50
        finally:
            stuck.set()

    def test_one_that_is_too_small_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Invalid, match="at least 64"):
            bench.open(MIB)


class TestManyReaders:
    def test_while_segments_go(self, bench: Bench) -> None:
        cache = bench.open()
        plain, wanted = bench.put(600)
        wrong: list[object] = []

        def reader(seed: int) -> None:
            chooser = random.Random(seed)
            store = CachedBlockStore(bench.store, cache)
            for _ in range(200):
                picked = [*chooser.sample(range(600), 4), *chooser.sample(range(20), 1)]
                if read(store, [wanted[at] for at in picked]) != [plain[at] for at in picked]:
                    wrong.append(picked)

        threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        counters = cache.counters()
        assert counters.evicted
        assert counters.hits
        assert counters.damaged == 0


class TestDirectories:
    def test_two_at_a_time_and_one_after_them(self, bench: Bench) -> None:
        one, two = bench.open(), bench.open()
        assert one.path != two.path
        _, first = bench.put(10)
        _, second = bench.put(10)
        fill(bench, one, first)
        fill(bench, two, second)
        assert not any(kept(one, second))
        one.close()
        two.close()
        third = bench.open()
        assert all(kept(third, first))
        assert all(kept(third, second))

    def test_stores_and_keys_do_not_mix(self, bench: Bench) -> None:
        cache = bench.open()
        _, wanted = bench.put(5)
        fill(bench, cache, wanted)
        cache.close()
        for store, key in ((bytes(16), b""), (STORE, b"k" * 32)):
            other = bench.open(store=store, key=key)
            assert not any(kept(other, wanted))
            other.close()
        assert all(kept(bench.open(), wanted))

    def test_nobody_else_can_look_into_it(self, bench: Bench) -> None:
        bench.folder.mkdir(mode=0o755)
        (bench.folder / "blocks").mkdir(mode=0o755)
        cache = bench.open()
        assert (bench.folder / "blocks").stat().st_mode & 0o077 == 0
        fill(bench, cache, bench.put(1)[1])
        assert all(path.stat().st_mode & 0o077 == 0 for path in bench.segments())

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize(
        "prepare", [lambda p: os.chown(p, 1, 1), lambda p: (p.rmdir(), p.symlink_to("/tmp"))]
    )
    def test_what_is_somebody_elses_is_refused(self, bench: Bench, prepare: Callable[[Path], None]) -> None:
        blocks = bench.folder / "blocks"
        blocks.mkdir(parents=True)
        prepare(blocks)
        with pytest.raises(Invalid, match="choose another cache-dir"):
            bench.open()

    def test_what_nobody_mounted_for_a_month_goes(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept_store, old = bench.open(store=b"kept" * 4), bench.open(store=b"old!" * 4)
        kept_store.close()
        old.close()
        os.utime(old.path / "lock", (0, 0))
        bench.open()
        assert kept_store.path.exists()
        assert not old.path.exists()


def test_segments_have_room_for_the_largest_block(bench: Bench) -> None:
    cache = bench.open(module.SMALLEST)
    plain, blocks = mixed(12, MIB)
    wanted = bench.put_all(blocks)
    store = CachedBlockStore(bench.store, cache)
    for pair, data in zip(wanted, plain, strict=True):
        assert read(store, [pair]) == [data]
        wait_until(lambda pair=pair: all(kept(cache, [pair])), "the block to be kept")  # type: ignore[misc]
