"""Copies of dumps on several targets: a bad one is found by scrub and made anew from a good one."""

from __future__ import annotations

from pathlib import Path

from harness.contents import noise
from replication.rig import MIB, Make, Store, fail, write


def dumped(make: Make) -> Store:
    store = make()
    volume = store.open().volume("test")
    write(volume, "file", noise(2 * MIB))
    volume.close()
    store.engine.maintenance.back_up()  # type: ignore[union-attr]
    return store


def files(store: Store, target: str) -> list[Path]:
    return sorted(path for path in (store.path(target) / "backup").rglob("*") if path.is_file())


def test_scrub_makes_bad_copies_anew(make: Make) -> None:
    store = dumped(make)
    good = {path: path.read_bytes() for path in files(store, "b")}
    assert len(good) >= 3, "a manifest, text, and the packs it needs"
    for path, data in good.items():
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :])
    store.close()
    engine = store.open()
    found = engine.maintenance.scrub().findings
    assert {finding.kind for finding in found} == {"copy-damaged"}
    assert len(found) == len(good)
    assert all("target b" in finding.what and "made anew" in finding.what for finding in found)
    assert {path: path.read_bytes() for path in good} == good
    assert engine.maintenance.scrub().clean


def test_what_cannot_be_asked_is_not_called_lost(make: Make) -> None:
    """The only good copies may be where nobody answers now."""
    store = dumped(make)
    for name in ("b", "c"):
        for path in files(store, name):
            path.write_bytes(b"not what it was")
    store.close()
    engine = store.open()
    fail(store, "a", "get")
    found = engine.maintenance.scrub().findings
    assert not [finding for finding in found if finding.kind == "dump-damaged"]
    store.faults["a"].heal()
    store.target.members.named("a").works()  # type: ignore[union-attr]
    assert {finding.kind for finding in engine.maintenance.scrub().findings} == {"copy-damaged"}
    assert engine.maintenance.scrub().clean
