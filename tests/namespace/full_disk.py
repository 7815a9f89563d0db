"""A process whose files cannot grow: SQLite's COMMIT fails as on a full disk, then works again."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from graviton_server.namespace.store import NamespaceStore
from gravitonfs.core.ids import ROOT_INO, BlockId
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Batch, Create, LooseBlock, Unlink
from gravitonfs.ports.packs import PackState


def main(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = NamespaceStore.open(path, group_seconds=3600)
    opened: set[int] = set()
    namespace = store.attach(label="full", claims=lambda ino: ino in opened)
    inos = iter(namespace.grant(10_000))
    done = 0

    def apply(*todo: Create | Unlink, durable: bool = False, loose: tuple[LooseBlock, ...] = ()) -> None:
        nonlocal done
        done += 1
        [reply] = namespace.apply([Batch(done, done, todo, (), loose)], durable=durable)
        assert reply.failure is None, reply

    apply(Create(ROOT_INO, b"before", next(inos), 0o100644, 0, 0), durable=True)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))

    kept = next(inos)
    opened.add(kept)
    apply(Create(ROOT_INO, b"kept", kept, 0o100644, 0, 0))
    apply(Unlink(ROOT_INO, b"kept"))
    opened.clear()  # a second run of the batch must not ask again
    pack = store.packs.begin(b"p" * 16, "full", PackState.LIVE)
    for number in range(5000):
        apply(Create(ROOT_INO, b"file-%d" % number, next(inos), 0o100644, 0, 0))
    block = LooseBlock(BlockId(bytes(32)), 0, 5000, bytes(5000))
    apply(loose=(block,))
    expected = picture(store, namespace, kept)
    for _ in range(3):
        try:
            apply(Create(ROOT_INO, b"refused", next(inos), 0o100644, 0, 0), durable=True)
        except GravitonError as error:
            done -= 1  # refused: its number is free
            print("refused", error.kind.value, flush=True)
        else:
            raise SystemExit("the commit should have failed")
        assert picture(store, namespace, kept) == expected, "what was answered is no longer seen"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    apply(durable=True)
    assert picture(store, namespace, kept) == expected
    assert store.packs.get(pack) is not None
    print("durable", flush=True)

    # A log that cannot grow is moved into the database and used again from its start.
    store.finish_checkpoint()
    size = max(path.stat().st_size, path.with_name(path.name + "-wal").stat().st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + (128 << 10), resource.RLIM_INFINITY))
    before = store.counters()["restarts"]
    for number in range(100):
        apply(Unlink(ROOT_INO, b"file-%d" % number))
        store.commit()
    print("room" if store.counters()["restarts"] > before else "the log never filled up", flush=True)
    signal.raise_signal(signal.SIGKILL)


def picture(store: NamespaceStore, namespace: Namespace, kept: int) -> object:
    return (
        namespace.entries(ROOT_INO, None, 10_000),
        namespace.attr(kept),
        namespace.usage(),
        store.loose.loose_bytes(),
        [row.number for row in store.packs.rows()],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
