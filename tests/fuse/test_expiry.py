"""What the kernel was told is noted, and taken back name by name, or waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from gravitonfs.content.fresh import Ticket
from gravitonfs.core.ids import NO_CONTENT, Ino
from gravitonfs.fuse.expiry import Expiry, entry_message, inode_message
from gravitonfs.fuse.handed import Leased
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr

NOW = Ticket(1, 1)


class Lease:
    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.ticket: Ticket | None = NOW

    def leased(self, most: int = 1000) -> Leased:
        return Leased(lambda: self.until, lambda: self.ticket, most)


@contextmanager
def loop() -> Iterator[trio.lowlevel.TrioToken]:
    """An event loop on a thread of its own."""
    started = threading.Event()
    found: list[trio.lowlevel.TrioToken] = []
    end = trio.Event()

    async def main() -> None:
        found.append(trio.lowlevel.current_trio_token())
        started.set()
        await end.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert started.wait(30)
    try:
        yield found[0]
    finally:
        found[0].run_sync_soon(end.set)
        thread.join(30)


def test_times_end_with_the_lease_and_with_every_change() -> None:
    lease = Lease(30)
    leased = lease.leased()
    assert 29 < leased.of_name(1, b"a", 5, leased.mark()) <= 30
    assert 29 < leased.of_inode(5, NOW) <= 30
    assert leased.of_inode(5, None) == 0  # asked while it was not trusted
    assert leased.of_inode(5, Ticket(1, 0)) == 0  # something has changed since
    assert leased.of_inode(5, Ticket(1, 0), own=True) > 0  # by what this answers
    assert leased.of_inode(5, Ticket(0, 1), own=True) == 0  # all has become unknown since
    lease.ticket = None
    assert leased.of_inode(5, NOW) == 0
    lease.ticket, lease.until = NOW, 0.0
    assert leased.of_inode(5, NOW) == 0
    lease.until = time.monotonic() + 1000
    assert leased.of_inode(5, NOW) <= 60


def test_what_was_handed_out_is_taken_back() -> None:
    leased = Lease(30).leased()
    leased.of_name(1, b"a", 5, NOW)
    leased.of_name(1, b"none", 0, NOW)
    leased.of_name(5, b"b", 6, NOW)
    leased.of_inode(7, NOW)
    leased.of_inode(8, None)
    read, write = os.pipe()
    with loop() as token:
        expiry = Expiry(leased, lambda: write, lambda ino: 1 if ino == 7 else ino)
        expiry.recall()  # nothing was answered yet
        expiry.start(token)
        expiry.recall()
        sent = os.read(read, 1 << 16)
        expected = [entry_message(1, b"a"), entry_message(1, b"none"), entry_message(5, b"b")]
        expected += [inode_message(5), inode_message(6), inode_message(1)]
        for message in expected:
            assert sent.count(message) == 1
        assert len(sent) == sum(map(len, expected))
        expiry.recall()  # nothing is left
        expiry.stop()
        leased.of_inode(9, NOW)
        expiry.recall()
        os.set_blocking(read, False)
        try:
            assert os.read(read, 10) == b""
        except BlockingIOError:
            pass
    os.close(read)
    os.close(write)


def test_a_page_of_a_directory_is_taken_back() -> None:
    leased = Lease(30).leased()
    page = [Entry(b"%d" % number, attr_of(100 + number), None) for number in range(50)]
    leased.of_name(1, b"0", 100, NOW)
    assert leased.of_page(NOW) > 0
    leased.handed(1, page)
    leased.handed(9, page[:2])
    noted = leased.take()
    assert noted.names == {(1, entry.name) for entry in page} | {(9, b"0"), (9, b"1")}
    assert noted.inodes == {entry.attr.ino for entry in page}


def test_a_directory_that_is_listed_again_and_again_is_noted_once() -> None:
    leased = Lease(30).leased(most=1000)
    page = [Entry(b"%d" % number, attr_of(100 + number), None) for number in range(400)]
    for _ in range(20):
        leased.of_page(NOW)
        leased.handed(1, page)
    assert leased.take().uncounted == 0


def attr_of(ino: int) -> Attr:
    return Attr(Ino(ino), 0o100644, 1, 0, 0, 0, 0, 0, 0, 0, 0, NO_CONTENT, 1)


def test_a_busy_kernel_and_what_is_not_noted_are_waited_for() -> None:
    """A name whose directory has a request under way blocks the message; here nobody reads the pipe."""
    lease = Lease(1.0)
    leased = lease.leased(most=20_000)
    for number in range(15_000):
        leased.of_name(1, b"%d" % number, 0, NOW)
    read, write = os.pipe()
    with loop() as token:
        expiry = Expiry(leased, lambda: write, lambda ino: ino)
        expiry.start(token)
        expiry.recall()
        assert time.monotonic() >= lease.until
        expiry.stop()
        os.set_blocking(read, False)
        deadline = time.monotonic() + 30
        while any(thread.name == "expiry" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            try:
                os.read(read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
        few = Lease(1.0)
        leased = few.leased(most=10)
        for number in range(100):
            leased.of_name(1, b"%d" % number, 0, NOW)
        noted = leased.take()
        assert len(noted.names) <= 20
        assert noted.uncounted == few.until
    os.close(read)
    os.close(write)
