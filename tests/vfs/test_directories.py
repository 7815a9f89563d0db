"""Reading a directory page by page, the next one asked for while this one is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from gravitonfs.core.ids import NO_CONTENT, ROOT_INO, Ino
from gravitonfs.errors import Unavailable
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr
from gravitonfs.vfs.directories import PAGE, PAGE_FIRST, DirectoryHandle


def entry(number: int, size: int = 0) -> Entry:
    attr = Attr(Ino(100 + number), 0o100644, 1, 0, 0, 0, size, 0, 0, 0, 0, NO_CONTENT, 1)
    return Entry(b"%06d" % number, attr, None)


class Directory:
    """Its questions are noted; while it is ``away`` they fail."""

    def __init__(self, count: int) -> None:
        self.entries = [entry(number) for number in range(count)]
        self.asked: list[tuple[bytes | None, int]] = []
        self.away = False

    def list(self, directory: Ino, after: bytes | None, limit: int, /) -> Sequence[Entry]:
        self.asked.append((after, limit))
        if self.away:
            raise Unavailable("nobody answers")
        return [one for one in self.entries if after is None or one.name > after][:limit]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def at_once(listing: Callable[[], Sequence[Entry]]) -> Future[Sequence[Entry]]:
    answer: Future[Sequence[Entry]] = Future()
    answer.set_running_or_notify_cancel()
    try:
        answer.set_result(listing())
    except Unavailable as error:
        answer.set_exception(error)
    return answer


def rest(handle: DirectoryHandle, position: int = 0, tick: int = 0) -> list[Entry]:
    found: list[Entry] = []
    while (page := handle.page(position, tick)).entries:
        found += page.entries
        position = page.end
    return found


def test_pages_asked_for_ahead_are_the_whole_directory(pool: ThreadPoolExecutor) -> None:
    directory = Directory(3 * PAGE + 7)
    handle = DirectoryHandle(ROOT_INO, directory.list, pool.submit)
    assert rest(handle) == directory.entries
    assert rest(handle) == directory.entries


def test_the_next_page_is_asked_for_before_it_is_wanted() -> None:
    directory = Directory(2 * PAGE)
    handle = DirectoryHandle(ROOT_INO, directory.list, at_once)
    handle.page(0, 0)
    assert directory.asked == [(None, PAGE_FIRST), (b"%06d" % (PAGE_FIRST - 1), 2 * PAGE_FIRST)]


def test_of_a_small_directory_nothing_is_asked_for_ahead() -> None:
    directory = Directory(PAGE_FIRST - 1)
    handle = DirectoryHandle(ROOT_INO, directory.list, at_once)
    assert handle.page(0, 0).entries
    assert len(directory.asked) == 1


def test_what_changed_since_it_was_asked_for_ahead_is_asked_for_again() -> None:
    directory = Directory(PAGE)
    handle = DirectoryHandle(ROOT_INO, directory.list, at_once)
    position = handle.page(0, 0).end
    directory.entries = [entry(number, size=5) for number in range(PAGE)]
    found = rest(handle, position, tick=1)
    assert found == directory.entries[position:]


def test_a_page_that_failed_ahead_is_asked_for_by_who_wants_it() -> None:
    directory = Directory(PAGE)

    def away(listing: Callable[[], Sequence[Entry]]) -> Future[Sequence[Entry]]:
        directory.away = True
        return at_once(listing)

    handle = DirectoryHandle(ROOT_INO, directory.list, away)
    position = handle.page(0, 0).end
    with pytest.raises(Unavailable):
        handle.page(position, 0)
    directory.away = False
    assert handle.page(position, 0).entries[0] == directory.entries[position]


def test_a_page_that_waits_for_its_turn_is_not_waited_for() -> None:
    directory = Directory(PAGE)
    handle = DirectoryHandle(ROOT_INO, directory.list, lambda listing: Future())
    position = handle.page(0, 0).end
    assert handle.coming(position) is None
    assert rest(handle, position) == directory.entries[position:]


def test_seeking_back_starts_again(pool: ThreadPoolExecutor) -> None:
    directory = Directory(2 * PAGE)
    handle = DirectoryHandle(ROOT_INO, directory.list, pool.submit)
    rest(handle)
    assert handle.page(10, 0).entries[0] == directory.entries[10]
    assert rest(handle, 10) == directory.entries[10:]
