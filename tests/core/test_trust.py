"""For how long a lease is trusted."""

from __future__ import annotations

import time

import pytest

from gravitonfs.core import trust as trusting
from gravitonfs.core.trust import Trust


class Clock:
    """The clock that goes on while the machine sleeps, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(trusting, "instant", made)
    return made


def left(trust: Trust) -> float:
    until = trust.until()
    return round(until - time.monotonic(), 1) if until else 0.0


@pytest.fixture
def dropped() -> list[float]:
    return []


@pytest.fixture
def trust(dropped: list[float]) -> Trust:
    made: Trust = Trust(lambda: dropped.append(made.until()))
    return made


def test_it_counts_from_the_question(clock: Clock, trust: Trust) -> None:
    assert trust.until() == 0.0
    asked = clock()
    clock.now += 3
    trust.granted(1, 10.0, asked)
    assert left(trust) == 6.0
    clock.now += 6.1
    assert trust.until() == 0.0
    trust.granted(1, 10.0, clock())
    assert left(trust) == 9.0


def test_the_same_lease_goes_on_and_another_begins_with_nothing(
    clock: Clock, trust: Trust, dropped: list[float]
) -> None:
    trust.granted(1, 10.0, clock())
    clock.now += 100
    trust.granted(1, 10.0, clock())
    assert dropped == []
    clock.now += 100
    trust.granted(2, 10.0, clock())
    assert dropped == [0.0]
    assert left(trust) == 9.0


def test_what_was_given_up_is_not_taken_again(clock: Clock, trust: Trust, dropped: list[float]) -> None:
    trust.granted(5, 10.0, clock())
    trust.give_up(6)
    assert trust.until() == 0.0
    for number in (5, 6):
        trust.granted(number, 10.0, clock())
        assert trust.was_given_up(number)
    assert trust.until() == 0.0
    trust.dropped(6)
    trust.granted(7, 10.0, clock())
    assert left(trust) == 9.0
    assert dropped == []


def test_a_recall_that_is_not_over_yet(clock: Clock, trust: Trust, dropped: list[float]) -> None:
    trust.granted(1, 10.0, clock())
    trust.give_up(1)
    trust.granted(2, 10.0, clock())
    assert dropped == [0.0]
    trust.dropped(1)
    assert left(trust) == 9.0
    assert trust.number == 2


def test_an_answer_from_before_the_silence_is_not_believed(clock: Clock, trust: Trust) -> None:
    trust.granted(1, 10.0, clock())
    asked = clock()
    clock.now += 1
    trust.suspend()
    assert trust.until() == 0.0
    trust.granted(1, 10.0, asked)
    assert trust.until() == 0.0
    trust.granted(1, 10.0, clock())
    assert left(trust) == 9.0


def test_nor_after_the_end(clock: Clock, trust: Trust) -> None:
    trust.granted(1, 10.0, clock())
    trust.end()
    trust.granted(1, 10.0, clock())
    trust.granted(2, 10.0, clock())
    assert trust.until() == 0.0


def test_a_recall_while_everything_is_dropped(clock: Clock) -> None:
    trust: Trust = Trust(lambda: trust.give_up(2))
    trust.granted(1, 10.0, clock())
    trust.granted(2, 10.0, clock())
    assert trust.until() == 0.0


def test_sleep_is_noticed(clock: Clock, trust: Trust) -> None:
    clock.now = time.monotonic()
    trust.slept()
    assert not trust.slept()
    trust.granted(1, 10.0, clock())
    clock.now += 30
    assert trust.slept()
    assert not trust.slept()
    assert trust.until() == 0.0


def test_what_is_in_doubt_is_dropped_though_the_lease_is_the_same(
    clock: Clock, trust: Trust, dropped: list[float]
) -> None:
    trust.granted(1, 10.0, clock())
    trust.doubt()
    assert trust.until() == 0.0
    clock.now += 1
    trust.granted(1, 10.0, clock())
    assert dropped == [0.0]
    assert left(trust) == 9.0


def test_there_is_nothing_to_doubt_before_the_first_lease(
    clock: Clock, trust: Trust, dropped: list[float]
) -> None:
    trust.doubt()
    trust.granted(1, 10.0, clock())
    assert dropped == []
