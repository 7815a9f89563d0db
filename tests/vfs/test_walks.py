"""Which directory a walk through a tree comes to next."""

from __future__ import annotations

from gravitonfs.core.ids import Ino
from gravitonfs.vfs.walks import Walk


def inos(*numbers: int) -> list[Ino]:
    return [Ino(number) for number in numbers]


def test_down_first_and_then_on() -> None:
    walk = Walk()
    walk.know(Ino(1), inos(2, 3, 4))
    walk.know(Ino(3), inos(5, 6))
    assert list(walk.after(Ino(1))) == inos(2, 3, 5, 6, 4)
    assert list(walk.after(Ino(2))) == inos(3, 5, 6, 4)
    assert list(walk.after(Ino(5))) == inos(6, 4)
    assert list(walk.after(Ino(4))) == []
    assert list(walk.after(Ino(9))) == []


def test_a_directory_that_was_moved_or_removed_is_forgotten() -> None:
    walk = Walk()
    walk.know(Ino(1), inos(2, 3))
    walk.know(Ino(2), inos(3))  # moved
    walk.know(Ino(1), inos(2))
    assert list(walk.after(Ino(1))) == inos(2, 3)
    walk.know(Ino(2), [])
    assert list(walk.after(Ino(3))) == []


def test_directories_that_lie_in_each_other_come_to_an_end() -> None:
    """What was seen before and after a rename can contradict itself."""
    walk = Walk()
    walk.know(Ino(1), inos(2))
    walk.know(Ino(2), inos(1))
    assert len([ino for ino, _ in zip(walk.after(Ino(1)), range(1000), strict=False)]) <= 1000


def test_much_is_not_remembered() -> None:
    walk = Walk()
    for number in range(1, 3000):
        walk.know(Ino(number), inos(10_000 + number))
    assert list(walk.after(Ino(1))) == []
    assert list(walk.after(Ino(2999))) == inos(12_999)


def test_listing_alone_is_no_proof() -> None:
    walk = Walk()
    assert not any(walk.listed() for _ in range(10))
    assert not walk.goes_on
    for _ in range(3):
        walk.listed()
        walk.read()
    assert walk.listed()
    assert walk.goes_on
    for _ in range(10):
        walk.listed()
    assert not walk.goes_on
