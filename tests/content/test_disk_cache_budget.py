"""The disk cache and its disk: the budget, what goes, failing media, who shares a directory."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from content.caching import MIB, STORE, Bench, fill, kept, read
from gravitonfs.content.diskcache import cache as module
from gravitonfs.content.diskcache.store import CachedBlockStore
from gravitonfs.errors import Invalid
from gravitonfs.testing.blockstore_suite import mixed
from harness.waiting import wait_until


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

    @pytest.mark.parametrize("refused_by", ["open", "pwrite"])
    def test_without_direct_writes(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, refused_by: str
    ) -> None:
        """Some file systems refuse them at once, some when it comes to writing."""
        plain, wanted = bench.put(20)
        refused, real_open, real_pwrite = [], os.open, os.pwrite

        def refuse() -> OSError:
            refused.append(True)
            return OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        def opening(path: str, flags: int, *rest: int) -> int:
            if flags & os.O_DIRECT and ".segment" in str(path):
                raise refuse()
            return real_open(path, flags, *rest)

        def writing(fd: int, data: bytes, offset: int) -> int:
            name = os.readlink(f"/proc/self/fd/{fd}")
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT and name.endswith(".segment"):
                raise refuse()
            return real_pwrite(fd, data, offset)

        monkeypatch.setattr(os, refused_by, opening if refused_by == "open" else writing)
        cache = bench.open()
        fill(bench, cache, wanted)
        assert refused
        before = bench.asked
        assert read(CachedBlockStore(bench.store, cache), wanted) == plain
        assert bench.asked == before


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
