"""The journal's files: what is read back after any end, and what damage does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import Unavailable
from gravitonfs.journal import found as finding
from gravitonfs.journal.found import Found, Piece, Write
from gravitonfs.journal.journal import Journal
from gravitonfs.journal.scan import scan, segments
from gravitonfs.ports.ops import Attr, Batch, Create, Removed, Reply, Truncate, Unlink

STORE, HANDLE = b"s" * 16, b"h" * 24
MIB = 1 << 20


def attr(ino: int, version: int = 1) -> Attr:
    return Attr(Ino(ino), 0o100644, 1, 0, 0, 0, 0, 0, 0, 0, 0, ContentId(7), version)


def begun(directory: Path, limit: int = 1 << 30, last: int = 0) -> Journal:
    journal = Journal(directory, source="graviton://h:1/main", limit=limit)
    journal.attached(STORE, "main", HANDLE, 5, last)
    return journal


def left(directory: Path) -> Found:
    found = finding.read(directory)
    assert found is not None
    return found


def bytes_of(found: Found, ino: int) -> dict[int, bytes]:
    pieces = finding.final(found.inodes[Ino(ino)].writes)
    return {piece.offset: piece.read() for piece in pieces}


class TestReading:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        journal.write(attr(20), 0, b"abc", 1)
        batch = Batch(1, 9, (Create(Ino(1), b"f", Ino(21), 0o100644, 0, 0),))
        journal.sending([batch])
        journal.answered([Reply(1, (attr(21, 3),), None, 0)])
        journal.write(attr(21, 3), 5, b"defgh", 2)
        journal.sending([Batch(2, 9, (Unlink(Ino(1), b"g"),)), Batch(3, 9, (Truncate(Ino(20), 0),))])
        journal.answered([Reply(2, (Removed(Ino(33), 0, False),), None, 1)])
        journal.applied(Ino(20), journal.last_of(Ino(20)))
        journal.sync()
        found = left(tmp_path)
        assert (found.head.store, found.head.volume, found.head.handle) == (STORE, "main", HANDLE)
        assert bytes_of(found, 20) == {0: b"abc"}
        assert bytes_of(found, 21) == {5: b"defgh"}
        assert found.batches[1].batch == batch
        assert [found.batches[number].answered for number in (1, 2, 3)] == ["", "", None]
        assert found.gone == {Ino(33)}
        assert found.inodes[Ino(20)].marks == [(2, 2)]
        assert [number for _, number in found.inodes[Ino(20)].cleared] == [3]
        assert found.inodes[Ino(21)].known == {(7, 3)}
        assert found.damage is None

    def test_what_a_file_was_before_its_size_was_set_is_known(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        journal.resizing(attr(20, 4))
        journal.sending([Batch(1, 9, (Truncate(Ino(20), 0),))])
        journal.answered([Reply(1, (attr(20, 5),), None, 0)])
        journal.sending([Batch(2, 9, (Truncate(Ino(20), 7),))])
        journal.sync()
        assert left(tmp_path).inodes[Ino(20)].known == {(7, 4), (7, 5)}

    def test_cut_at_any_byte_what_was_whole_is_read(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        ends = []
        for number in range(6):
            journal.write(attr(20), number * 10, b"%d" % number * 10, 1)
            ends.append(journal.size)
        [path] = segments(tmp_path)
        data = path.read_bytes()
        for size in range(ends[0], len(data) + 1):
            path.write_bytes(data[:size] + bytes(random.Random(size).randrange(80)))
            found = left(tmp_path)
            assert found.damage is None
            count = sum(end <= size for end in ends)
            assert [write.offset for write in found.inodes[Ino(20)].writes] == [n * 10 for n in range(count)]
            assert path.stat().st_size == ends[count - 1]  # others can follow

    def test_a_torn_end_that_nobody_was_promised_is_no_damage(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        for number in range(5):
            journal.write(attr(20), number * 1000, b"%d" % number * 1000, 1)
        [path] = segments(tmp_path)
        data = bytearray(path.read_bytes())
        data[data.index(b"2222") + 5] ^= 1  # pages reach the disk in any order
        path.write_bytes(data)
        found = left(tmp_path)
        assert found.damage is None
        assert sorted(bytes_of(found, 20)) == [0, 1000]
        assert [record.sequence for record in scan(tmp_path).records] == [1, 2, 3]

    def test_damage_of_what_was_promised_is_told(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        for number in range(5):
            journal.write(attr(20), number * 1000, b"%d" % number * 1000, 1)
            journal.sync()
        [path] = segments(tmp_path)
        data = bytearray(path.read_bytes())
        data[data.index(b"2222") + 5] ^= 1
        path.write_bytes(data)
        found = left(tmp_path)
        assert found.damage is not None
        assert [write.behind for write in found.inodes[Ino(20)].writes] == [False, False, True, True]
        assert path.read_bytes() == data  # nothing is cut off

    @pytest.mark.parametrize("which", ["first", "middle"])
    def test_a_missing_segment_is_damage(self, tmp_path: Path, which: str) -> None:
        journal = begun(tmp_path, limit=8 * MIB)
        for number in range(4):
            journal.write(attr(20), number * MIB, b"%d" % number * MIB, 1)
            journal.sync()
        paths = segments(tmp_path)
        assert len(paths) == 4
        if which == "middle":
            paths[1].unlink()
            found = left(tmp_path)
            assert found.damage is not None
            assert [write.behind for write in found.inodes[Ino(20)].writes] == [False, True, True]
        else:
            paths[0].write_bytes(bytes(paths[0].stat().st_size))
            found = left(tmp_path)
            assert found.damage is not None
            assert [write.behind for write in found.inodes[Ino(20)].writes] == [True] * 3

    def test_nothing_but_rubbish_is_damage_and_nothing_at_all_is_not(self, tmp_path: Path) -> None:
        assert finding.read(tmp_path) is None
        path = tmp_path / "0000000000000001.journal"
        path.write_bytes(b"")
        assert finding.read(tmp_path) is None
        path.write_bytes(bytes(100_000))
        found = left(tmp_path)
        assert found.damage is not None
        assert found.head.handle == b""

    def test_another_session_starts_over_with_the_batches(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        journal.write(attr(20), 0, b"abc", 1)
        journal.sending([Batch(1, 9, ())])
        journal.answered([Reply(1, (), None, 0)])
        journal.applied(Ino(20), journal.last_of(Ino(20)))
        journal.attached(STORE, "main", b"i" * 24, 6, 0)
        journal.sending([Batch(1, 10, ())])
        found = left(tmp_path)
        assert (found.head.session, found.head.handle) == (6, b"i" * 24)
        assert found.batches[1].batch.time_ns == 10
        assert found.inodes[Ino(20)].marks == [(2, 0)]
        assert journal.held_bytes == 0

    def test_it_goes_on_behind_what_is_there(self, tmp_path: Path) -> None:
        begun(tmp_path).write(attr(20), 0, b"abc", 1)
        found = left(tmp_path)
        after = found.last_segment, found.last_sequence
        more = Journal(tmp_path, source="", after=after)
        more.attached(STORE, "main", HANDLE, 5, 3)
        more.write(attr(20), 3, b"def", 1)
        more.sync()
        found = left(tmp_path)
        assert found.damage is None
        assert bytes_of(found, 20) == {0: b"abc", 3: b"def"}


class TestSpace:
    def test_segments_go_when_the_store_has_everything_for_sure(self, tmp_path: Path) -> None:
        journal = begun(tmp_path, limit=8 * MIB)
        for number in range(10):
            journal.write(attr(20 + number % 2), number * MIB, bytes(MIB), 1)
        assert journal.full
        assert journal.oldest() == [Ino(20)]
        journal.sending([Batch(1, 9, ())])
        journal.answered([Reply(1, (), None, 0)])
        for ino in (20, 21):
            journal.applied(Ino(ino), journal.last_of(Ino(ino)))
        assert journal.held_bytes == 10 * MIB
        assert not journal.idle
        journal.durable_through(1)
        assert (journal.held_bytes, journal.idle, journal.full) == (0, True, False)
        assert journal.size < 2 * MIB
        journal.close()
        assert segments(tmp_path) == []

    def test_bytes_that_came_after_a_flush_began_stay(self, tmp_path: Path) -> None:
        journal = begun(tmp_path)
        journal.write(attr(20), 0, b"abc", 1)
        seen = journal.last_of(Ino(20))
        journal.write(attr(20), 3, b"def", 1)
        journal.sending([Batch(1, 9, ())])
        journal.answered([Reply(1, (), None, 1)])
        journal.applied(Ino(20), seen)
        journal.durable_through(1)
        assert not journal.idle
        journal.close()
        found = left(tmp_path)
        [(sequence, _)] = found.inodes[Ino(20)].marks
        assert [w.offset for w in found.inodes[Ino(20)].writes if w.sequence > sequence] == [3]

    def test_a_disk_that_fails_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        journal = begun(tmp_path)
        journal.write(attr(20), 0, b"abc", 1)

        def broken(fd: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("os.fdatasync", broken)
        with pytest.raises(Unavailable, match="cannot be written"):
            journal.sync()
        monkeypatch.undo()
        journal.write(attr(20), 3, b"def", 1)
        with pytest.raises(Unavailable):
            journal.sync()
        assert "from now on fsync waits for the store" in caplog.text
        assert journal.failure is not None


def test_later_writes_hold_where_they_overlap(tmp_path: Path) -> None:
    for seed in range(200):
        chance = random.Random(seed)
        path = tmp_path / "bytes"
        whole = bytearray(100)
        touched = bytearray(100)
        stored = b""
        writes = []
        for number in range(chance.randrange(1, 15)):
            offset = chance.randrange(80)
            data = bytes([number + 1]) * chance.randrange(1, 20)
            writes.append(Write(number, offset, len(data), 0, path, len(stored), False))
            stored += data
            whole[offset : offset + len(data)] = data
            touched[offset : offset + len(data)] = b"\1" * len(data)
        path.write_bytes(stored)
        pieces = finding.final(writes)
        assert pieces == sorted(pieces, key=lambda piece: piece.offset)
        rebuilt, covered = bytearray(100), bytearray(100)
        for piece in pieces:
            end = piece.offset + piece.length
            assert not any(covered[piece.offset : end])
            rebuilt[piece.offset : end] = piece.read()
            covered[piece.offset : end] = b"\1" * piece.length
        assert (rebuilt, covered) == (whole, touched)
        assert isinstance(pieces[0], Piece)
