"""What every target does. A test module subclasses a suite and gives it a ``target`` fixture."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest

from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.target import AppendTarget, ObjectInfo, Target


def store(target: Target, key: str, data: bytes) -> None:
    target.put(key, BytesIO(data), len(data))


class TargetSuite:
    """``Target``: whole objects."""

    def test_what_was_put_is_got(self, target: Target) -> None:
        data = os.urandom(3 << 20)
        store(target, "packs/ab/x.pack", data)
        assert bytes(target.get("packs/ab/x.pack", 0, len(data))) == data
        assert target.head("packs/ab/x.pack") == ObjectInfo("packs/ab/x.pack", len(data))

    def test_a_range_is_cut_at_the_end_of_the_object(self, target: Target) -> None:
        store(target, "one", b"0123456789")
        assert bytes(target.get("one", 3, 4)) == b"3456"
        assert bytes(target.get("one", 8, 100)) == b"89"
        assert bytes(target.get("one", 10, 1)) == b""
        assert bytes(target.get("one", 50, 1)) == b""

    def test_ranges_are_got_together_each_in_a_buffer_of_its_own(self, target: Target) -> None:
        data = os.urandom(3 << 20)
        store(target, "packs/ab/x.pack", data)
        wanted = [(5, 10), (15, 0), (20, 100_000), (100_100, 1), (1 << 20, 1 << 20), ((3 << 20) - 7, 20)]
        for _ in range(3):  # first, again, and as often read
            for some in (wanted, wanted[:5], wanted[2:3], wanted[4:]):
                answers = target.get_ranges("packs/ab/x.pack", some)
                assert [bytes(one) for one in answers] == [data[at : at + length] for at, length in some]
        with pytest.raises(NotFound):
            target.get_ranges("packs/ab/none.pack", wanted)

    def test_an_empty_object_exists(self, target: Target) -> None:
        store(target, "empty", b"")
        assert target.head("empty").length == 0
        assert bytes(target.get("empty", 0, 10)) == b""

    def test_putting_again_replaces_whole(self, target: Target) -> None:
        store(target, "one", b"old and longer")
        assert bytes(target.get("one", 0, 100)) == b"old and longer"
        store(target, "one", b"new")
        assert bytes(target.get("one", 0, 100)) == b"new"

    @pytest.mark.parametrize("declared", [0, 3, 5])
    def test_a_body_of_another_length_leaves_nothing(self, target: Target, declared: int) -> None:
        with pytest.raises(Invalid):
            target.put("packs/aa/bad.pack", BytesIO(b"four"), declared)
        with pytest.raises(NotFound):
            target.head("packs/aa/bad.pack")
        assert [info.key for info in target.list("packs/")] == []

    def test_a_failed_put_leaves_what_was_there(self, target: Target) -> None:
        store(target, "one", b"before")
        with pytest.raises(Invalid):
            target.put("one", BytesIO(b"short"), 10)
        assert bytes(target.get("one", 0, 100)) == b"before"

    def test_the_body_is_read_from_its_position(self, target: Target) -> None:
        body = BytesIO(b"skip this")
        body.seek(5)
        target.put("one", body, 4)
        assert bytes(target.get("one", 0, 100)) == b"this"

    def test_what_is_not_there_is_not_found(self, target: Target) -> None:
        with pytest.raises(NotFound):
            target.get("packs/ab/none.pack", 0, 1)
        with pytest.raises(NotFound):
            target.head("packs/ab/none.pack")

    def test_deleting_twice_is_no_error(self, target: Target) -> None:
        store(target, "packs/ab/x.pack", b"x")
        assert bytes(target.get("packs/ab/x.pack", 0, 1)) == b"x"
        target.delete("packs/ab/x.pack")
        target.delete("packs/ab/x.pack")
        with pytest.raises(NotFound):
            target.get("packs/ab/x.pack", 0, 1)

    def test_list_gives_the_objects_of_a_prefix(self, target: Target) -> None:
        for key in ("packs/ab/one.pack", "packs/ab/two.pack", "packs/cd/one.pack", "dumps/1"):
            store(target, key, key.encode())
        assert {info.key for info in target.list("packs/")} == {
            "packs/ab/one.pack",
            "packs/ab/two.pack",
            "packs/cd/one.pack",
        }
        assert [info.key for info in target.list("packs/ab/t")] == ["packs/ab/two.pack"]
        assert [info.length for info in target.list("dumps/")] == [7]
        assert list(target.list("nothing/")) == []

    @pytest.mark.parametrize("key", ["", "../up", "a/../b", "/abs", "a//b", "UPPER", "a/./b", ".hidden"])
    def test_bad_keys_are_refused(self, target: Target, key: str) -> None:
        with pytest.raises(Invalid):
            store(target, key, b"x")

    def test_space_is_told(self, target: Target) -> None:
        space = target.space()
        assert 0 <= space.free <= space.capacity

    def test_many_threads(self, target: Target) -> None:
        def work(number: int) -> None:
            for turn in range(10):
                key = f"packs/{number:02x}/{turn}.pack"
                data = bytes([number]) * (1000 * turn)
                store(target, key, data)
                assert bytes(target.get(key, 0, len(data))) == data
                if turn % 2:
                    target.delete(key)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(list(target.list("packs/"))) == 40


class AppendTargetSuite(TargetSuite):
    """``AppendTarget``: objects that grow."""

    def test_appends_are_contiguous_and_read_back_at_once(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        expected = bytearray()
        for size in (1, 4095, 4096, 100_000, 5 << 20, 0, 17):
            part = os.urandom(size)
            assert file.append([part[: size // 2], memoryview(part)[size // 2 :]]) == len(expected)
            expected += part
            start = max(len(expected) - size - 100, 0)
            assert bytes(file.read(start, size + 200)) == expected[start:]
            assert bytes(append_target.get("packs/ab/g.pack", start, size + 200)) == expected[start:]
        assert append_target.head("packs/ab/g.pack").length == len(expected)
        assert file.sync() == len(expected)
        file.close()
        assert bytes(append_target.get("packs/ab/g.pack", 0, len(expected) + 1)) == expected
        assert append_target.head("packs/ab/g.pack").length == len(expected)

    def test_buffers_may_be_reused_at_once(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        buffer = bytearray(1 << 20)
        for turn in range(20):
            buffer[:] = bytes([turn]) * len(buffer)
            file.append([buffer])
        file.sync()
        for turn in range(20):
            assert bytes(file.read(turn << 20, 1 << 20)) == bytes([turn]) * (1 << 20)
        file.close()

    def test_syncs_at_any_length(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        expected = bytearray()
        for size in (1, 10, 4085, 1, 5000, 4 << 20, 3, 0, 8192):
            part = os.urandom(size)
            file.append([part])
            expected += part
            assert file.sync() == len(expected)
            assert bytes(append_target.get("packs/ab/g.pack", 0, len(expected))) == expected
        file.close()
        assert bytes(append_target.get("packs/ab/g.pack", 0, len(expected) + 9)) == expected

    def test_one_large_append(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        data = os.urandom(40 << 20)
        file.append([b"head", data, b"tail"])
        assert file.sync() == len(data) + 8
        assert bytes(file.read(0, len(data) + 8)) == b"head" + data + b"tail"
        file.close()

    def test_closing_without_sync_keeps_the_bytes_readable(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        file.append([b"x" * 10_000])
        file.close()
        file.close()
        assert bytes(append_target.get("packs/ab/g.pack", 0, 20_000)) == b"x" * 10_000

    def test_sync_waits_for_what_another_thread_had_appended(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        parts = [os.urandom(300_000) for _ in range(60)]
        lock = threading.Lock()
        offsets: dict[int, int] = {}

        def work(numbers: range) -> None:
            for number in numbers:
                with lock:
                    offsets[number] = file.append([parts[number]])
                assert file.sync() >= offsets[number] + len(parts[number])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, [range(at, 60, 4) for at in range(4)]))
        for number, offset in offsets.items():
            assert bytes(append_target.get("packs/ab/g.pack", offset, 300_000)) == parts[number]
        file.close()

    def test_read_cached_answers_right_or_not_at_all(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        data = os.urandom(20 << 20)
        file.append([data])
        for closed in (False, True):
            for at in (0, 10 << 20, 19 << 20):
                answer = append_target.read_cached("packs/ab/g.pack", at, 1000)
                assert answer is None or bytes(answer) == data[at : at + 1000]
            if not closed:
                assert answer is not None  # the end is still in memory
                file.close()
                append_target.get("packs/ab/g.pack", 0, len(data))

    def test_a_deleted_object_can_be_read_no_more(self, append_target: AppendTarget) -> None:
        file = append_target.create("packs/ab/g.pack")
        file.append([b"x"])
        file.sync()
        file.close()
        append_target.delete("packs/ab/g.pack")
        with pytest.raises(NotFound):
            append_target.get("packs/ab/g.pack", 0, 1)
        with pytest.raises(NotFound):
            append_target.read_cached("packs/ab/g.pack", 0, 1)
