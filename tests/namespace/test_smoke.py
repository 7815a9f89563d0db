"""The shortest way through: what was answered is there after the store has been opened again."""

from __future__ import annotations

from pathlib import Path

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.ports.ops import Batch, Create


def test_a_file_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "namespace.db"
    NamespaceStore.create(path, VolumeFormat(), bytes(16))
    store = NamespaceStore.open(path)
    namespace = store.attach(label="first")
    (ino,) = namespace.grant(1)
    [reply] = namespace.apply([Batch(1, 5, (Create(ROOT_INO, b"a", ino, 0o100644, 7, 8),))], durable=True)
    assert reply.failure is None
    assert reply.durable_through == 1
    store.close()

    store = NamespaceStore.open(path)
    found = store.attach(label="second").lookup(ROOT_INO, b"a")
    store.close()
    assert found is not None
    assert found == reply.results[0]
    assert (found.uid, found.gid, found.mtime_ns) == (7, 8, 5)
