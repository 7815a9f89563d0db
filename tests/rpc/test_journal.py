"""Mounts with durability=local: what fsync has answered is there again, or kept where people find it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from gravitonfs.client import Client
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb
from harness.programs import Graviton
from harness.waiting import wait_until
from rpc.laptop import Laptop, Writer, evict, kept, laptop, opened, proxy, served
from rpc.running import Daemon, daemon
from rpc.test_faults import check, connected

__all__ = ["laptop", "opened", "proxy", "served"]

pytestmark = pytest.mark.mount


def test_fsync_is_answered_while_the_daemon_is_away(
    laptop: Laptop, served: Daemon, opened: list[Writer], scratch: Path
) -> None:
    laptop.mount()
    writer = Writer(laptop.point / "f")
    opened.append(writer)
    writer.write(0, b"first ", 100)
    writer.sync()
    laptop.away()
    for turn in range(20):
        writer.write(turn * 1000, b"%04d" % turn, 100)
        assert writer.sync() < 2
    laptop.kill()
    writer.end()
    laptop.back()
    laptop.mount()
    found = (laptop.point / "f").read_bytes()
    for turn in range(20):
        assert found[turn * 1000 : turn * 1000 + 400] == b"%04d" % turn * 100
    assert not [path for path in laptop.segments() if path.stat().st_size > 4096]
    laptop.unmount()
    assert laptop.segments() == []
    served.stop()
    assert check(scratch / "data") == []


class Dead:
    """A mount that died with bytes in its journal alone: NEW was synced over some of OLD."""

    OLD = b"old" * 1000
    NEW = b"new" * 100
    MIXED = b"old" * 10 + NEW + b"old" * 890

    def __init__(self, laptop: Laptop, opened: list[Writer]) -> None:
        laptop.mount()
        (laptop.point / "f").write_bytes(self.OLD)
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        laptop.away()
        writer.write(30, b"new", 100)
        writer.sync()
        laptop.kill()
        writer.end()
        laptop.back()


@pytest.fixture
def dead(laptop: Laptop, opened: list[Writer]) -> Dead:
    return Dead(laptop, opened)


class TestRecovery:
    def test_the_bytes_are_there(self, laptop: Laptop, dead: Dead) -> None:
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == dead.MIXED
        assert kept(laptop) == []
        laptop.unmount()

    def test_a_mount_without_a_journal_brings_them_too(
        self, graviton: Graviton, laptop: Laptop, dead: Dead
    ) -> None:
        source = f"graviton://127.0.0.1:{laptop.proxy.port}/main"
        mount = graviton.mount(source, laptop.point, f"cache-dir={laptop.local},cache-reserve=0")  # type: ignore[arg-type]
        assert (laptop.point / "f").read_bytes() == dead.MIXED
        graviton.unmount(mount, laptop.point)
        assert laptop.segments() == []

    def test_the_session_ends_with_the_journal(self, served: Daemon, laptop: Laptop, dead: Dead) -> None:
        laptop.mount()
        laptop.unmount()
        connection = connected(served.port)
        listed = connection.call(
            "/graviton.v1.AdminService/ListSessions",
            pb.ListSessionsRequest(volume="main"),
            pb.ListSessionsReply,
            timeout=5,
        )
        assert [one for one in listed.sessions if one.remote] == []
        connection.close()

    def test_of_an_evicted_session_the_bytes_are_kept_aside(
        self, graviton: Graviton, served: Daemon, laptop: Laptop, dead: Dead
    ) -> None:
        graviton.allow_log("cannot be resumed|the session was ended")
        evict(served.port, "mount")
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == dead.OLD
        [found] = kept(laptop)
        assert found in (bytes(30) + dead.NEW, dead.MIXED)
        laptop.unmount()

    def test_what_others_have_changed_is_not_overwritten(
        self, graviton: Graviton, served: Daemon, laptop: Laptop, dead: Dead
    ) -> None:
        graviton.allow_log("somebody else has changed the file")
        with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as client:
            client.write_bytes("f", b"theirs")
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == b"theirs"
        assert kept(laptop) == [bytes(30) + dead.NEW]
        laptop.unmount()

    def test_of_a_file_that_others_have_removed_the_bytes_are_kept(
        self, graviton: Graviton, served: Daemon, laptop: Laptop, dead: Dead
    ) -> None:
        graviton.allow_log("the file does not exist any more")
        with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as client:
            client.remove("f")
        laptop.mount()
        assert sorted(os.listdir(laptop.point)) == [".graviton-lost"]
        assert kept(laptop) == [bytes(30) + dead.NEW]
        laptop.unmount()

    @staticmethod
    def stored(laptop: Laptop, path: Path) -> None:
        """Syncs a file of more than a MiB and waits until the journal has let go of it."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        first = laptop.segments()[0]
        wait_until(lambda: not first.exists(), "the store to have it for sure")

    def test_a_truncation_that_a_crash_undid_is_not_taken_for_somebody_elses_change(
        self, laptop: Laptop, served: Daemon, opened: list[Writer]
    ) -> None:
        """The journal says nothing any more of how the file came to be what it was before."""
        laptop.mount()
        for turn in range(4):
            path = laptop.point / f"f{turn}"
            path.write_bytes(b"old" * 700_000)
            self.stored(laptop, path)
            writer = Writer(path)
            opened.append(writer)
            writer.do("size", 1000)
            laptop.away()
            served.kill()
            writer.write(500, b"new", 10)
            writer.sync()
            laptop.kill()
            writer.end()
            laptop.back()
            served.start()
            laptop.mount()
            old = b"old" * 700_000
            assert path.read_bytes() == old[:500] + b"new" * 10 + old[530:1000]
        assert kept(laptop) == []
        laptop.unmount()

    def test_a_truncation_that_a_crash_undid_does_not_cut_what_others_wrote(
        self, graviton: Graviton, laptop: Laptop, served: Daemon
    ) -> None:
        graviton.allow_log("others have changed the file since|is described in")
        undone = 0
        # Here from the start, so that the mount never has the volume to itself and nobody waits for that.
        with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=60) as client:
            client.exists("any")
            for turn in range(4):
                laptop.mount()
                path = laptop.point / f"f{turn}"
                path.write_bytes(b"old" * 700_000)
                self.stored(laptop, path)
                os.truncate(path, 0)
                laptop.away()
                served.kill()
                laptop.kill()
                served.start()
                undone += client.read_bytes(path.name) != b""
                client.write_bytes(path.name, b"theirs")
                laptop.back()
                laptop.mount()
                assert path.read_bytes() == b"theirs"
                assert len(kept(laptop)) == undone
                laptop.unmount()
                if undone:
                    return
        raise AssertionError("the store had it for sure each time")

    def test_damage_is_told_and_what_follows_is_kept_aside(
        self, graviton: Graviton, laptop: Laptop, opened: list[Writer]
    ) -> None:
        graviton.allow_log("damaged")
        laptop.mount()
        (laptop.point / "f").write_bytes(Dead.OLD)
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        laptop.away()
        for turn in range(3):
            writer.write(turn * 300, b"%03d" % turn, 100)
            writer.sync()
        laptop.kill()
        writer.end()
        laptop.back()
        [segment] = laptop.segments()
        data = bytearray(segment.read_bytes())
        data[data.index(b"001001001") + 100] ^= 1
        segment.write_bytes(data)
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == b"000" * 100 + Dead.OLD[300:]
        assert bytes(600) + b"002" * 100 in kept(laptop)
        assert list(laptop.local.rglob("*.damaged-*/*.journal"))
        laptop.unmount()

    def test_the_journal_of_another_store_is_left_alone(
        self, graviton: Graviton, laptop: Laptop, dead: Dead, scratch: Path
    ) -> None:
        graviton.allow_log("belongs to another store|cannot be resumed")
        other = scratch / "other-point"
        folder = scratch / "other"
        folder.mkdir()
        with daemon(scratch / "other-data", folder) as another:
            source = f"graviton://127.0.0.1:{another.port}/main"
            mount = graviton.mount(source, other, f"cache-dir={laptop.local},cache-reserve=0")  # type: ignore[arg-type]
            assert os.listdir(other) == []
            graviton.unmount(mount, other)
            assert "another store" in mount.log_text()
            another.stop()
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == dead.MIXED
        laptop.unmount()

    def test_it_may_be_killed_as_well(self, laptop: Laptop, dead: Dead) -> None:
        for skip in (500, 1_000, 1_500, 2_000):
            laptop.proxy.stall("up", skip)
            process = laptop.start()
            laptop.proxy.wait_fired(1)
            laptop.proxy.fired = 0
            process.kill()
            laptop.back()
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == dead.MIXED
        assert kept(laptop) == []
        laptop.unmount()


class TestDaemonAway:
    def test_what_could_not_be_closed_is_stored_when_it_is_back(
        self, laptop: Laptop, served: Daemon, opened: list[Writer]
    ) -> None:
        laptop.mount("timeout=1s")
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        laptop.away()
        writer.write(0, b"kept", 1000)
        writer.sync()
        writer.end()  # its close fails, and nobody hears that
        time.sleep(3)  # beyond the bound
        laptop.back()
        with Client(f"graviton://127.0.0.1:{served.port}/main", timeout=10) as client:
            wait_until(lambda: client.read_bytes("f") == b"kept" * 1000, "the bytes to be stored")
        laptop.unmount()
        assert laptop.segments() == []

    def test_a_slow_wire_holds_up_neither_writes_nor_syncs(
        self, laptop: Laptop, opened: list[Writer]
    ) -> None:
        laptop.mount("timeout=60s")
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        writer.write(0, b"first")
        laptop.proxy.delay = 2.0  # each way, so that an answer takes four seconds
        for turn in range(20):
            assert writer.do("write", turn * 10, (b"%08d" % turn).hex(), 1) < 3
            assert writer.sync() < 3
        laptop.proxy.delay = 0.0
        writer.end()
        found = (laptop.point / "f").read_bytes()
        assert [found[turn * 10 : turn * 10 + 8] for turn in range(20)] == [b"%08d" % t for t in range(20)]
        laptop.unmount()

    def test_a_full_journal_makes_writers_wait(
        self, graviton: Graviton, laptop: Laptop, opened: list[Writer]
    ) -> None:
        graviton.allow_log("is full")
        laptop.mount("timeout=2s", "journal-size=8MiB")
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        laptop.away()
        count = 0
        with contextlib.suppress(AssertionError):  # EIO, after the bound
            while count < 20:
                writer.write(count << 20, b"%08d" % count, 1 << 17)
                assert writer.sync() < 2
                count += 1
        assert 8 <= count <= 9
        writer.end()
        laptop.back()
        held = sum(path.stat().st_size for path in laptop.segments())
        assert held <= 10 << 20

        def stored() -> bool:
            try:
                found = (laptop.point / "f").read_bytes()
            except OSError:
                return False
            return all(found[n << 20 : (n + 1) << 20] == b"%08d" % n * (1 << 17) for n in range(count))

        wait_until(stored, "all that was synced to be there", 60)
        laptop.unmount()

    def test_umount_says_what_is_left_and_the_next_mount_has_it(
        self, graviton: Graviton, laptop: Laptop, opened: list[Writer]
    ) -> None:
        process = laptop.mount("timeout=1s")
        writer = Writer(laptop.point / "f")
        opened.append(writer)
        laptop.away()
        writer.write(0, b"kept", 1000)
        writer.sync()
        writer.end()
        told = graviton.run("umount", laptop.point, status=1, XDG_STATE_HOME=laptop.state)
        assert b"are left in the journal" in told.stderr
        assert b"the next mount" in told.stderr
        assert process.process.wait(30) == 1
        laptop.back()
        laptop.mount()
        assert (laptop.point / "f").read_bytes() == b"kept" * 1000
        laptop.unmount()


class TestTogether:
    def test_close_to_open_holds_between_two_mounts(
        self, graviton: Graviton, laptop: Laptop, served: Daemon, scratch: Path
    ) -> None:
        laptop.mount()
        source = f"graviton://127.0.0.1:{served.port}/main"
        other = scratch / "other"
        second = graviton.mount(
            source, other, "durability=local", f"cache-dir={laptop.local},cache-reserve=0"
        )  # type: ignore[arg-type]
        for turn in range(20):
            for one, two in ((laptop.point, other), (other, laptop.point)):
                with open(one / "f", "wb") as file:
                    file.write(b"%d" % turn * 1000)
                    file.flush()
                    os.fsync(file.fileno())
                    file.write(b"end")
                assert (two / "f").read_bytes() == b"%d" % turn * 1000 + b"end"
        graviton.unmount(second, other)
        laptop.unmount()
        assert laptop.segments() == []

    def test_much_written_without_a_sync_goes_through_a_small_journal(self, laptop: Laptop) -> None:
        laptop.mount("timeout=20s", "journal-size=16MiB")
        data = os.urandom(1 << 20)
        with open(laptop.point / "f", "wb") as file:
            for turn in range(60):
                file.write(turn.to_bytes(2, "big") + data[2:])
        found = (laptop.point / "f").read_bytes()
        assert found == b"".join(turn.to_bytes(2, "big") + data[2:] for turn in range(60))
        laptop.unmount()
        assert laptop.segments() == []

    def test_embedded_volumes_accept_it(self, graviton: Graviton, scratch: Path) -> None:
        graviton.run("init", scratch / "embedded")
        point = scratch / "point"
        mount = graviton.mount(scratch / "embedded", point, "durability=local")
        assert "this machine's disk" in mount.log_text()
        graviton.unmount(mount, point)
