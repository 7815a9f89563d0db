"""Commands of the pages for operators are run, in the order of the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from documentation.blocks import ROOT
from documentation.walk import FOR_OPERATORS, walk


@pytest.mark.mount
@pytest.mark.timeout(270)
@pytest.mark.parametrize("page", FOR_OPERATORS)
def test_a_page_does_what_it_shows(page: str, scratch: Path) -> None:
    walk(ROOT / "docs" / page, scratch)
