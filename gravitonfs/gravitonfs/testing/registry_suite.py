"""What every pack registry does. A test module subclasses this and gives it a ``registry`` fixture."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.ports.packs import PackNews, PackRegistry, PackState

ALL = 10_000


def stored(registry: PackRegistry, owner: str = "one", footer: bytes = b"footer") -> PackNumber:
    number = registry.begin(os.urandom(16), owner, PackState.STORING)
    assert registry.publish(number, 1000, 3, footer)
    return number


def condemned(registry: PackRegistry, number: PackNumber) -> None:
    assert registry.condemn([number], registry.clock_ns() + 10**15) == [number]


def state(registry: PackRegistry, number: PackNumber) -> PackState | None:
    row = registry.get(number)
    return None if row is None else row.state


def told(news: list[PackNews]) -> list[tuple[PackNumber, PackState, bytes]]:
    return [(one.row.number, one.row.state, one.footer) for one in news]


class PackRegistrySuite:
    # --- one pack's life ---

    def test_a_pack_is_stored_and_published_with_what_it_holds(self, registry: PackRegistry) -> None:
        uuid = os.urandom(16)
        number = registry.begin(uuid, "one", PackState.STORING)
        row = registry.get(number)
        assert row is not None
        assert (row.uuid, row.owner, row.state, row.length) == (uuid, "one", PackState.STORING, 0)
        assert registry.publish(number, 1000, 3, b"footer")
        row = registry.get(number)
        assert row is not None
        assert (row.state, row.length, row.blocks) == (PackState.LIVE, 1000, 3)
        assert registry.footers([number]) == {number: b"footer"}
        assert registry.find(uuid) == row
        assert registry.find(os.urandom(16)) is None

    def test_publish_keeps_what_sealed_has_recorded(self, registry: PackRegistry) -> None:
        number = registry.begin(os.urandom(16), "one", PackState.STORING)
        registry.sealed(number, 500, 2, b"f")
        registry.sealed(number, 500, 2, b"f")
        assert registry.publish(number)
        row = registry.get(number)
        assert row is not None
        assert (row.state, row.length, row.blocks) == (PackState.LIVE, 500, 2)
        assert registry.footers([number]) == {number: b"f"}

    def test_only_a_storing_pack_is_published(self, registry: PackRegistry) -> None:
        number = stored(registry)
        assert registry.publish(number, 9, 9, b"other")  # repeated: it is live, and as it was
        gone = registry.begin(os.urandom(16), "one", PackState.STORING)
        registry.abandon(gone)
        assert not registry.publish(gone, 9, 9, b"other")
        assert state(registry, gone) is PackState.ABANDONED
        assert not registry.publish(PackNumber(999_999))
        row = registry.get(number)
        assert row is not None
        assert row.length == 1000

    def test_the_way_out(self, registry: PackRegistry) -> None:
        number = stored(registry)
        assert not registry.deleting(number)
        condemned(registry, number)
        registry.abandon(number)  # neither storing nor live: nothing happens
        assert state(registry, number) is PackState.CONDEMNED
        assert registry.deleting(number)
        registry.deleted(number)
        assert registry.get(number) is None
        registry.deleted(number)
        registry.abandon(number)
        assert registry.footers([number]) == {}

    def test_what_was_relied_on_lately_is_not_condemned(self, registry: PackRegistry) -> None:
        number = stored(registry)
        assert registry.condemn([number], 1) == []
        assert state(registry, number) is PackState.LIVE

    def test_rows_come_by_number_in_pages(self, registry: PackRegistry) -> None:
        numbers = [stored(registry) for _ in range(5)]
        assert numbers == sorted(set(numbers))
        first = registry.rows(NO_PACK, 3)
        assert [row.number for row in first] == numbers[:3]
        assert [row.number for row in registry.rows(first[-1].number, 3)] == numbers[3:]

    def test_numbers_are_never_given_twice(self, registry: PackRegistry) -> None:
        number = stored(registry)
        condemned(registry, number)
        registry.deleting(number)
        registry.deleted(number)
        assert stored(registry) > number

    # --- several engines ---

    def test_an_engine_is_told_what_was_published_since_it_enrolled(self, registry: PackRegistry) -> None:
        before = stored(registry)
        position = registry.enroll("two")
        assert [row.number for row in registry.rows()] == [before]
        assert registry.tail("two", position) == []
        number = stored(registry, footer=b"one's")
        begun = registry.begin(os.urandom(16), "one", PackState.STORING)
        news = registry.tail("two", position)
        assert told(news) == [(number, PackState.LIVE, b"one's")]
        assert registry.tail("two", news[-1].position) == []
        assert registry.publish(begun, 10, 1, b"later")
        assert told(registry.tail("two", news[-1].position)) == [(begun, PackState.LIVE, b"later")]

    def test_news_come_in_order_and_in_pages(self, registry: PackRegistry) -> None:
        position = registry.enroll("two")
        numbers = [stored(registry) for _ in range(5)]
        seen: list[PackNumber] = []
        while news := registry.tail("two", position, 2):
            assert len(news) <= 2
            assert [one.position for one in news] == sorted({one.position for one in news})
            assert news[0].position > position
            seen += [one.row.number for one in news]
            position = news[-1].position
        assert seen == numbers

    def test_a_pack_comes_once_as_it_is_now(self, registry: PackRegistry) -> None:
        position = registry.enroll("two")
        number, other = stored(registry), stored(registry)
        condemned(registry, number)
        news = registry.tail("two", position)
        assert told(news) == [(other, PackState.LIVE, b"footer"), (number, PackState.CONDEMNED, b"")]
        registry.deleting(number)
        registry.deleted(number)
        assert told(registry.tail("two", position))[:1] == [(other, PackState.LIVE, b"footer")]

    def test_what_ceases_to_be_live_is_told(self, registry: PackRegistry) -> None:
        number = stored(registry)
        position = registry.enroll("two")
        condemned(registry, number)
        assert told(registry.tail("two", position)) == [(number, PackState.CONDEMNED, b"")]

    def test_concurrent_publishers_hide_nothing_from_the_tail(self, registry: PackRegistry) -> None:
        position = registry.enroll("two")

        def publish(turn: int) -> list[PackNumber]:
            return [stored(registry, f"engine-{turn}") for _ in range(20)]

        seen: list[PackNumber] = []

        def read() -> int:
            at = position
            while news := registry.tail("two", at, 7):
                seen.extend(one.row.number for one in news)
                at = news[-1].position
            return at

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(publish, turn) for turn in range(4)]
            while not all(one.done() for one in running):
                position = read()
            numbers = {number for one in running for number in one.result()}
        read()
        assert sorted(seen) == sorted(numbers)

    def test_footers_stay_until_every_engine_has_read_them(self, registry: PackRegistry) -> None:
        one, two = registry.enroll("one"), registry.enroll("two")
        number = stored(registry)
        at = registry.tail("one", one)[-1].position
        registry.tail("one", at)
        assert registry.shed_footers([number]) == 0
        registry.tail("two", two)
        assert registry.shed_footers([number]) == 0  # handed out, but not known to have been taken in
        registry.tail("two", at)
        assert registry.shed_footers([number, PackNumber(999_999)]) == 1
        assert registry.footers([number]) == {}
        assert registry.shed_footers([number]) == 0
        late = registry.begin(os.urandom(16), "one", PackState.STORING)
        assert registry.publish(late, 10, 1, b"late")
        registry.leave("two")
        assert registry.shed_footers([late]) == 0
        registry.tail("one", registry.tail("one", at)[-1].position)
        assert registry.shed_footers([late]) == 1

    def test_what_a_dead_engine_had_begun_is_abandoned(self, registry: PackRegistry) -> None:
        registry.enroll("alive")
        kept = registry.begin(os.urandom(16), "alive", PackState.STORING)
        lost = registry.begin(os.urandom(16), "never enrolled", PackState.STORING)
        live = stored(registry, "never enrolled")
        assert registry.abandon_dead(60 * 10**9) == [lost]
        assert not registry.publish(lost, 1, 1, b"")
        assert [state(registry, number) for number in (kept, lost, live)] == [
            PackState.STORING,
            PackState.ABANDONED,
            PackState.LIVE,
        ]
        registry.leave("alive")
        assert registry.abandon_dead(60 * 10**9) == [kept]
        assert registry.abandon_dead(60 * 10**9) == []

    def test_an_engine_that_is_not_heard_of_is_dead(self, registry: PackRegistry) -> None:
        registry.enroll("silent")
        number = registry.begin(os.urandom(16), "silent", PackState.STORING)
        assert registry.abandon_dead(0) == [number]
