"""Makes a small golden volume of a schema: run once, when it is new, never again for it.

``python -m golden.make_release DIRECTORY`` (in ``tests``) writes ``volume-<format>-schema-<schema>.tar.xz``.
Those of older schemas were made by the code of their time, with this file and ``expected.py`` laid over it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from golden import make_volume
from golden.expected import KEPT, LOST, QUOTA, SECOND, compressible
from graviton_server.namespace.schema import SCHEMA_VERSION
from graviton_server.wiring import Engine
from gravitonfs.content.volume import Volume
from gravitonfs.core.format import FORMAT_VERSION
from gravitonfs.ports.ops import Unlink


def fill(volume: Volume, engine: Engine) -> None:
    """Also what later schemas are about: a snapshot, the trash, a quota, another volume."""
    ORIGINAL(volume)
    if SCHEMA_VERSION < 7:
        return
    store = engine.namespace_store
    store.trash_age_ns = 0
    with volume.stage(mode=0o600, uid=0, gid=0) as staged:
        staged.write(LOST[1])
        staged.publish(volume.namespace.root, LOST[0])
    store.create_snapshot("main", KEPT)
    volume.submit(Unlink(volume.namespace.root, LOST[0]))
    directory = volume.namespace.resolve([b"dir", b"deeper"])[-1]
    store.quotas.set("main", directory.ino, *QUOTA)
    store.create_volume(SECOND)


ORIGINAL = make_volume.fill


def main(target: Path) -> None:
    make_volume.contents = compressible
    opened: list[Engine] = []
    enter = Engine.__enter__
    Engine.__enter__ = lambda self: opened.append(self) or enter(self)  # type: ignore[func-returns-value, method-assign]
    make_volume.fill = lambda volume: fill(volume, opened[0])
    with suppress(FileExistsError):
        target.mkdir()
    make_volume.main(target)
    made = target / f"volume-{FORMAT_VERSION}.tar.xz"
    made.rename(target / f"volume-{FORMAT_VERSION}-schema-{SCHEMA_VERSION}.tar.xz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
