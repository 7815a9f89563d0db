"""Idle contents get their digest, and so become blobs that copies share."""

from __future__ import annotations

from blake3 import blake3

from gravitonfs.core.ids import Ino
from gravitonfs.ports.namespace import ContentInfo, ContentKind
from gravitonfs.ports.ops import Truncate
from maintenance.rig import MIB, Rig, noise


def content(rig: Rig, name: str) -> ContentInfo:
    return rig.volume.namespace.content(rig.attr(name).content)


def test_file_written_in_pieces_is_sealed_when_idle(rig: Rig) -> None:
    data = noise(3 * MIB, 1)
    rig.create("file")
    for start in (2 * MIB, 0, MIB):
        rig.patch("file", start, data[start : start + MIB])
    assert content(rig, "file").digest is None
    version = rig.attr("file").version
    assert rig.maintenance.settle(30)
    assert content(rig, "file").digest == blake3(data).digest()
    assert rig.attr("file").version == version


def test_holes_count_as_zeroes(rig: Rig) -> None:
    rig.create("sparse")
    rig.volume.submit(Truncate(rig.attr("sparse").ino, 5 * MIB))
    rig.patch("sparse", 2 * MIB, b"island")
    expected = bytearray(5 * MIB)
    expected[2 * MIB : 2 * MIB + 6] = b"island"
    assert rig.maintenance.settle(30)
    assert content(rig, "sparse").digest == blake3(expected).digest()


def test_file_open_for_writing_is_not_sealed_until_it_is_closed(rig: Rig) -> None:
    rig.create("busy")
    rig.patch("busy", 100, b"some bytes")
    busy: set[Ino] = {rig.attr("busy").ino}
    forget = rig.maintenance.ask_writing(busy.__contains__)
    assert rig.maintenance.settle(30)
    assert content(rig, "busy").kind is ContentKind.DRAFT
    forget()
    assert rig.maintenance.settle(30)
    assert content(rig, "busy").kind is ContentKind.SEALED


def test_sealed_file_can_be_written_again(rig: Rig) -> None:
    rig.create("file")
    rig.patch("file", 10, b"first")
    assert rig.maintenance.settle(30)
    rig.patch("file", 0, b"second")
    assert rig.read("file") == b"second" + bytes(4) + b"first"
    assert rig.maintenance.settle(30)
    assert content(rig, "file").digest == blake3(rig.read("file")).digest()


def test_it_goes_on_after_its_session_was_evicted(rig: Rig) -> None:
    for name in ("before", "after"):
        rig.create(name)
        rig.patch(name, 0, noise(100_000))
        assert rig.maintenance.settle(60)
        attr = rig.attr(name)
        assert rig.volume.namespace.content(attr.content).digest is not None
        store = rig.engine.namespace_store
        for row in store.sessions():
            if row.label == "maintenance":
                store.evict(row.number)
    assert not any(task.error for task in rig.maintenance.status())
