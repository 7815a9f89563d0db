"""No key without an effect: each names the test that shows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from config.effects import EFFECTS, LATER
from graviton_server.cli.serve import _WITHOUT_EFFECT
from graviton_server.config.sections import every_key

TESTS = Path(__file__).resolve().parents[1]
KEYS = [key.path.removeprefix("graviton.") for key in every_key()]


def test_every_key_has_its_test() -> None:
    assert sorted(EFFECTS) == sorted(KEYS)


@pytest.mark.parametrize("place", sorted(set(EFFECTS.values()) - {LATER}))
def test_the_tests_are_there(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_what_has_no_effect_yet_says_so() -> None:
    silent = {key for key in KEYS if f"graviton.{key}".startswith(_WITHOUT_EFFECT)}
    assert {key for key, place in EFFECTS.items() if place == LATER} == silent
