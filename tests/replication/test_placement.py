"""Placement: every pack gets what is asked, spread over zones, and little moves when targets change."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from graviton_server.replication.placement import (
    SIMPLE,
    ZONE_AWARE,
    Place,
    Wish,
    chosen,
    copies_of,
    zones_of,
)

PACKS = [number.to_bytes(16, "big") for number in range(2000)]


@st.composite
def places(draw: st.DrawFn, most: int = 8, own: bool = True) -> list[Place]:
    count = draw(st.integers(1, most))
    found = []
    for number in range(count):
        copies = draw(st.integers(1, 3)) if own else 1
        found.append(
            Place(
                number,
                f"t{number}",
                draw(st.sampled_from("abcd")),
                draw(st.floats(0.1, 10)),
                copies,
                draw(st.integers(1, copies)),
            )
        )
    return found


wishes = st.builds(Wish, st.integers(1, 6), st.integers(1, 4), st.sampled_from([SIMPLE, ZONE_AWARE])).filter(
    lambda wish: wish.min_zones <= wish.factor
)
packs = st.binary(min_size=16, max_size=16)


@given(packs, places(), wishes)
def test_what_is_asked_is_given_as_far_as_targets_are_configured(
    pack: bytes, there: list[Place], wish: Wish
) -> None:
    found = chosen(pack, there, wish)
    assert len(set(found)) == len(found) > 0
    assert copies_of(found) >= min(wish.factor, copies_of(there))
    assert zones_of(found) >= min(wish.min_zones, zones_of(there))
    if all(place.copies == 1 for place in there):
        assert len(found) == min(wish.factor, len(there))


@given(packs, places(own=False), st.integers(1, 6))
def test_zone_aware_copies_share_a_zone_only_when_there_is_no_other(
    pack: bytes, there: list[Place], factor: int
) -> None:
    found = chosen(pack, there, Wish(factor, 1, ZONE_AWARE))
    zones = {place.zone for place in there}
    assert len({place.zone for place in found}) == min(factor, len(there), len(zones))


@given(packs, places(own=False), wishes, st.randoms(use_true_random=False))
def test_order_and_numbers_of_targets_decide_nothing(
    pack: bytes, there: list[Place], wish: Wish, random: object
) -> None:
    shuffled = [place._replace(number=90 - place.number) for place in there]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    names = [place.name for place in chosen(pack, there, wish)]
    assert [place.name for place in chosen(pack, shuffled, wish)] == names


@settings(max_examples=300)
@given(packs, places(own=False), st.integers(1, 5), st.sampled_from("abcd"), st.floats(0.1, 10))
def test_an_added_target_takes_copies_from_others_and_moves_none_between_them(
    pack: bytes, there: list[Place], factor: int, zone: str, weight: float
) -> None:
    added = Place(99, "added", zone, weight)
    for strategy in (SIMPLE, ZONE_AWARE):
        wish = Wish(factor, 1, strategy)
        before, after = set(chosen(pack, there, wish)), set(chosen(pack, [*there, added], wish))
        assert after - before <= {added}
        assert len(before - after) <= 1


def test_shares_follow_weights() -> None:
    there = [Place(1, "a", "x", 1.0), Place(2, "b", "y", 2.0), Place(3, "c", "z", 5.0)]
    found = Counter(chosen(pack, there, Wish())[0].name for pack in PACKS)
    for place in there:
        assert abs(found[place.name] / len(PACKS) - place.weight / 8) < 0.04


def test_an_added_target_gets_its_share_and_no_more_moves() -> None:
    there = [Place(n, f"t{n}", f"z{n}") for n in range(4)]
    added = Place(4, "t4", "z4")
    moved = sum(
        set(chosen(pack, there, Wish(2))) != set(chosen(pack, [*there, added], Wish(2))) for pack in PACKS
    )
    assert abs(moved / len(PACKS) - 2 / 5) < 0.04


def test_a_bucket_that_keeps_three_copies_by_itself_is_enough_for_factor_three() -> None:
    bucket = Place(1, "s3", "default", copies=3, zones=3)
    wish = Wish(3, 2)
    assert wish.capped([bucket]) == wish
    assert chosen(PACKS[0], [bucket], wish) == [bucket]


def test_a_target_of_weight_nothing_takes_nothing() -> None:
    there = [Place(1, "a", "x", 0.0), Place(2, "b", "y")]
    assert [place.name for place in chosen(PACKS[0], there, Wish(2))] == ["b"]
