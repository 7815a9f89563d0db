"""The targets of a store whose database is lost: which store they belong to, and which dumps they have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

from blake3 import blake3

from graviton_server.maintenance.archive import Archive, Manifest
from graviton_server.maintenance.reports import Loaded
from graviton_server.maintenance.usage import PACKS
from graviton_server.packs.format import pack_key
from graviton_server.wiring.targets import open_target
from gravitonfs.errors import Damaged, GravitonError, Invalid, NotFound
from gravitonfs.ports.replicas import TargetRow
from gravitonfs.ports.target import Target, close_target

log = logging.getLogger("graviton.engine")


class Survivors:
    """As many of these targets as can be opened, of one store. A context manager; implements
    ``SeveralTargets``, to be read only."""

    def __init__(self, rows: Sequence[TargetRow]) -> None:
        """NotFound where none can be opened, Invalid where they are of different stores."""
        self._open: list[Target] = []
        stores: dict[bytes, str] = {}
        trouble: GravitonError | None = None
        for row in rows:
            try:
                target = open_target(row, None)
            except GravitonError as error:
                trouble = error
                log.warning("the target %s is passed by: %s", row.name, error)
                continue
            self._open.append(target)
            stores[target.store_uuid] = target.name
        if len(stores) > 1:
            self.close()
            raise Invalid(f"the targets {' and '.join(stores.values())} are of different stores")
        if not stores:
            raise NotFound(f"none of the targets can be opened: {trouble}") from trouble
        self.store_uuid = next(iter(stores))
        self.archive = Archive(self, self.store_uuid)

    def each(self) -> Sequence[Target]:
        return self._open

    def writable(self) -> Sequence[Target]:
        return ()

    def suffices(self, places: Sequence[Target]) -> bool:
        return False

    def choose(self, dump: str | None) -> Manifest:
        """The newest, unless another is named. NotFound, Damaged."""
        if dump is not None and dump != "latest":
            return self.archive.manifest(dump)
        found = self.archive.manifests()
        if not found:
            names = ", ".join(target.name for target in self._open)
            raise NotFound(f"there is no dump on {names}: give the FILE of one")
        return found[-1]

    def text(self, manifest: Manifest) -> Iterator[bytes]:
        return self.archive.pieces(manifest)

    def verify(self, manifest: Manifest, text: Iterable[bytes]) -> Loaded:
        """Read all of a dump, and look which of its packs are there. Damaged."""
        digest = blake3()
        for piece in text:
            digest.update(piece)
        if digest.hexdigest() != manifest.digest:
            raise Damaged(f"the parts of the dump {manifest.id} do not make the whole")
        there = {item.key for target in self._open for item in target.list(PACKS)}
        lost = sum(pack_key(uuid) not in there for uuid in self.archive.needed(manifest))
        return Loaded(packs_gone=lost, packs_adopted=0)

    def close(self) -> None:
        for target in self._open:
            close_target(target)

    def __enter__(self) -> Survivors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
