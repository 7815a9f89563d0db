"""Extent maps against a plain model: one block id a byte."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gravitonfs.core.extents import (
    EXTENT_SIZE,
    REGION,
    Extent,
    covering,
    overlay,
    pack_row,
    split_by_region,
    unpack_row,
)
from gravitonfs.core.ids import HOLE, BlockId, PackNumber

SPACE = 64
Model = dict[int, tuple[bytes, int]]


def _extent(spec: tuple[int, int, int, bool]) -> Extent:
    offset, length, number, is_hole = spec
    block = HOLE if is_hole else BlockId(number.to_bytes(32, "big"))
    return Extent(offset, length, block, 0 if is_hole else number % 7, PackNumber(number))


extents = st.tuples(st.integers(0, SPACE), st.integers(1, SPACE), st.integers(1, 1000), st.booleans()).map(
    _extent
)


def _paint(model: Model, extent: Extent) -> None:
    for index in range(extent.length):
        position = extent.block_offset + index if not extent.is_hole else 0
        model[extent.offset + index] = (extent.block, position)


def _read(extents_: list[Extent]) -> Model:
    model: Model = {}
    for extent in extents_:
        if not extent.is_hole:
            _paint(model, extent)
        else:
            for index in range(extent.length):
                model[extent.offset + index] = (HOLE, 0)
    return model


@given(st.lists(extents, max_size=20))
def test_overlay_is_what_was_written_last(changes: list[Extent]) -> None:
    model: Model = {}
    for change in changes:
        _paint(model, change)
    result = overlay([], changes)
    assert _read(result) == model
    for before, after in pairwise(result):
        assert before.end <= after.offset


@given(st.lists(extents, max_size=10), st.lists(extents, max_size=10))
def test_overlay_in_two_steps_is_overlay_in_one(first: list[Extent], second: list[Extent]) -> None:
    assert _read(overlay(overlay([], first), second)) == _read(overlay([], first + second))


@given(st.lists(extents, max_size=10), st.integers(0, SPACE), st.integers(1, SPACE))
def test_covering_finds_what_touches_the_range(changes: list[Extent], start: int, length: int) -> None:
    laid = overlay([], changes)
    expected = [e for e in laid if e.offset < start + length and e.end > start]
    assert covering(laid, start, start + length) == expected


@given(st.lists(extents, max_size=10), st.integers(0, 3))
def test_rows_come_back(changes: list[Extent], region: int) -> None:
    shifted = [e._replace(offset=e.offset + region * REGION) for e in overlay([], changes)]
    row = pack_row(region, shifted)
    assert len(row) == EXTENT_SIZE * len(shifted)
    assert unpack_row(region, row) == shifted


def test_an_extent_over_a_region_boundary_is_split() -> None:
    extent = Extent(REGION - 10, 30, BlockId(b"x" * 32), 5, PackNumber(3))
    assert split_by_region([extent]) == {
        0: [Extent(REGION - 10, 10, BlockId(b"x" * 32), 5, PackNumber(3))],
        1: [Extent(REGION, 20, BlockId(b"x" * 32), 15, PackNumber(3))],
    }
