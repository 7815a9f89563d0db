"""What takes long is waited for beside the event loop, also where changes are answered on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from content.trusting import Trusted
from graviton_server.wiring import Engine, EngineOptions, create_embedded
from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.volume import Volume
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.ports.namespace import Entry
from gravitonfs.vfs.directories import PAGE, DirectoryHandle
from gravitonfs.vfs.vfs import Vfs
from vfs.test_directories import Directory


@pytest.fixture
def vfs(tmp_path: Path) -> Iterator[Vfs]:
    """Of a sole mount that answers its changes."""
    create_embedded(tmp_path / "data", VolumeFormat())
    engine = Engine(tmp_path / "data", EngineOptions(memory=48 << 20, background=False))
    cache = NamesCache(100_000)
    trusted: Any = Trusted(engine.namespace_store.attach(label="mount", listener=cache.listening(None)))
    answering = Answering(trusted, cache, lambda ino: False, None)
    volume = Volume(CachingNamespace(trusted, cache, answering), engine.content)
    yield Vfs(volume)
    volume.close()
    engine.close()


def test_a_page_that_is_on_its_way_holds_nobody_up(vfs: Vfs) -> None:
    directory = Directory(PAGE)
    coming: Future[list[Entry]] = Future()
    coming.set_running_or_notify_cancel()
    stuck = threading.Timer(20.0, coming.set_exception, (TimeoutError("the loop was held up"),))
    stuck.start()

    async def main() -> None:
        handle = DirectoryHandle(ROOT_INO, directory.list, lambda listing: coming)
        position = (await vfs.fetch_directory(handle, 0)).end
        async with trio.open_nursery() as nursery:
            nursery.start_soon(vfs.fetch_directory, handle, position)
            await trio.testing.wait_all_tasks_blocked()
            coming.set_result(directory.entries[position:])

    try:
        trio.run(main)
    finally:
        stuck.cancel()
