"""No key without an effect: each names the test that shows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from config.effects import EFFECTS
from graviton_server.config.sections import every_key

TESTS = Path(__file__).resolve().parents[1]
KEYS = [key.path.removeprefix("graviton.") for key in every_key()]


def test_every_key_has_its_test() -> None:
    assert sorted(EFFECTS) == sorted(KEYS)


@pytest.mark.parametrize("place", sorted(set(EFFECTS.values())))
def test_the_tests_are_there(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
