"""Batches that wait for the store while it collects the packs that they name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from content.trusting import Trusted
from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.lost import keep_unapplied
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.volume import Volume
from maintenance.rig import MIB, Rig, noise

HOUR = 3600.0


class Waiting(Rig):
    """The volume's changes are answered from memory, and are applied when somebody asks."""

    names: CachingNamespace
    trusted: Trusted

    def open(self) -> None:
        super().open()
        self.volume.close()
        cache = NamesCache(8 << 20)
        namespace: Any = Trusted(self.engine.namespace_store.attach(label="sole"))
        self.trusted = namespace
        answering = Answering(namespace, cache, lambda ino: False, None, gather=HOUR)
        self.names = CachingNamespace(namespace, cache, answering)
        self.volume = Volume(self.names, self.engine.content)
        keep_unapplied(self.volume)
        for name in (b"no", b"neither"):
            assert self.names.lookup(self.root, name) is None  # then the whole directory is read
        self.create("asked")  # the store tells what has to be known of the root, and grants content ids
        self.unlink("asked")

    def write(self, name: str, data: bytes) -> None:
        """As a program does that closes the file."""
        writer = self.volume.writer(self.create(name))
        writer.write(0, data)
        writer.flush(seal=True)

    def applied(self) -> int:
        """Calls that had to be waited for, or have gone in the background."""
        return self.trusted.calls.get("apply", 0)


@pytest.fixture
def waiting(scratch: Path) -> Iterator[Waiting]:
    made = Waiting(scratch / "data")
    yield made
    made.close()


def forget(rig: Waiting, name: str) -> None:
    rig.unlink(name)
    rig.names.settle()
    rig.engine.namespace_store.upkeep.reap(1000)


def test_blocks_of_a_pack_that_was_collected_meanwhile_are_sent_again(
    waiting: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    large = noise(3 * MIB, 1)
    waiting.put("first", large)
    lengths = waiting.volume.ingest.chunker().cut(memoryview(large), final=True)
    data = large[: sum(lengths[:2])]  # two of its blocks
    assert len(data) <= MIB
    waiting.reopen()  # so that the pack may be collected
    waiting.write("agreed", data)
    forget(waiting, "first")
    forget(waiting, "agreed")

    before = waiting.applied()
    waiting.write("late", data)
    assert waiting.applied() == before, "it is answered, and waits"
    old = waiting.packs()
    waiting.maintenance.collect()
    assert not {row.number for row in old} & {row.number for row in waiting.packs()}, "nothing is left of it"

    waiting.names.settle()
    assert waiting.read_cold("late") == data
    waiting.write("later", data)
    waiting.names.settle()
    assert waiting.read_cold("later") == data
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    waiting.reopen()
    assert waiting.read("late") == data
    waiting.assert_sound()


def test_who_names_more_than_is_kept_waits_for_the_store(waiting: Waiting) -> None:
    data = noise(3 * MIB, 3)
    waiting.put("first", data)
    waiting.write("agreed", data)
    before = waiting.applied()
    waiting.write("again", data)
    assert waiting.applied() > before
    assert waiting.names.answering is not None
    assert not len(waiting.names.answering.log), "nothing waits whose blocks are not kept"
    assert waiting.read_cold("again") == data
