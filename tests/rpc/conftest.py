"""Stores behind servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.testing.namespace_suite.driver import session, store
from rpc.served import ServedStores
from rpc.serving import MIB

__all__ = ["session", "store"]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[ServedStores]:
    result = ServedStores(tmp_path / "namespace.db")
    yield result
    result.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    options = EngineOptions(memory=128 * MIB, background=False)
    with open_embedded(tmp_path / "data", create=True, options=options) as opened:
        yield opened
