"""Which pack has which block: the tail in memory, the index, and footers behind them."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from graviton_server.index import BlockIndex, Entry, Location, PackMark
from graviton_server.packs.footers import FooterCache
from graviton_server.packs.format import Records, pack_key
from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.errors import Damaged, NotFound
from gravitonfs.ports.packs import PackRegistry
from gravitonfs.ports.target import Target

_log = logging.getLogger(__name__)
_NAMES = 65536
_TOLD_MAX = 20
"""Damaged blocks of one pack that the log names."""


class _Name(NamedTuple):
    """``length`` is 0 where it is not known."""

    key: str
    uuid: bytes
    length: int


def _nothing_new() -> bool:
    return False


def _not_behind(_block: BlockId) -> Location | None:
    return None


class Catalog:
    """``_lock`` guards ``_tail`` (blocks not in the index yet), ``_names`` and ``_told``.

    ``learn`` finds out what other engines have stored, and says whether there was anything new; ``behind``
    looks for a block among packs that the index does not cover yet. Alone on a store there is neither.
    """

    def __init__(self, index: BlockIndex, registry: PackRegistry, target: Target, footer_bytes: int) -> None:
        self.index = index
        self.footers = FooterCache(target, footer_bytes)
        self._registry = registry
        self._lock = threading.Lock()
        self._tail: dict[BlockId, Location] = {}
        self._names: OrderedDict[PackNumber, _Name] = OrderedDict()
        self._told: dict[PackNumber, int] = {}
        self.learn: Callable[[], bool] = _nothing_new
        self.behind: Callable[[BlockId], Location | None] = _not_behind

    # --- packs ---

    def key(self, number: PackNumber) -> str:
        """The key of a pack in the target. Raises ``NotFound`` when there is no such pack."""
        return self._name(number).key

    def known_key(self, number: PackNumber) -> str | None:
        """As ``key``, but None where the database would be asked."""
        with self._lock:
            found = self._names.get(number)
        return None if found is None else found.key

    def _name(self, number: PackNumber) -> _Name:
        with self._lock:
            found = self._names.get(number)
        if found is None:
            row = self._registry.get(number)
            if row is None:
                raise NotFound(f"there is no pack {number}")
            found = self._remember(number, row.uuid, row.length)
        return found

    def _remember(self, number: PackNumber, uuid: bytes, length: int = 0) -> _Name:
        name = _Name(pack_key(uuid), uuid, length)
        with self._lock:
            self._names[number] = name
            if len(self._names) > _NAMES:
                self._names.popitem(last=False)
        return name

    def expect(self, number: PackNumber, uuid: bytes) -> None:
        """A pack begins. The mark tells a start after a crash that there was one."""
        self._remember(number, uuid)
        self.index.write(uuid, PackMark(number, 0), ())

    def told(self, number: PackNumber, uuid: bytes, length: int, records: Records) -> None:
        """A sealed pack, and what is in it."""
        name = self._remember(number, uuid, length)
        self.footers.add(name.key, records)

    def records(self, number: PackNumber) -> Records:
        """What is in a sealed pack. Raises ``NotFound``, ``Damaged``."""
        name = self._name(number)
        return self.footers.get(name.key, name.length)

    # --- look-ups ---

    def locate(self, ids: Sequence[BlockId]) -> list[Location | None]:
        """By the tail and the index; no I/O to a target."""
        tail = self._tail
        if not tail:
            return self.index.get(ids)
        found = [tail.get(block) for block in ids]
        if None in found:
            # The index after the tail: entries move from this to that, and so none is missed.
            rest = [at for at, location in enumerate(found) if location is None]
            for at, location in zip(rest, self.index.get([ids[at] for at in rest]), strict=True):
                found[at] = location
        return found

    def hinted(self, block: BlockId, hint: PackNumber, *, cached: bool = False) -> Location | None:
        """By the footer of the pack that a hint names; with ``cached`` only if that is in memory."""
        if hint == NO_PACK:
            return None
        try:
            name = self._name(hint)
            records = self.footers.peek(name.key) if cached else self.footers.get(name.key, name.length)
        except (NotFound, Damaged):
            return None
        if records is None:
            return None
        at = records.find(block)
        if at < 0:
            return None
        return Location(hint, records.offsets[at], records.stored[at], records.plain[at], records.codecs[at])

    # --- changes ---

    def note(self, entries: Iterable[Entry]) -> None:
        """Blocks that were appended just now."""
        with self._lock:
            self._tail.update(entries)

    def settle(self, uuid: bytes, mark: PackMark, entries: Sequence[Entry]) -> None:
        """Write entries that are durable in their pack, with its mark, to the index."""
        with self._lock:
            # Where the block was put elsewhere meanwhile, the newer place counts.
            current = [(block, place) for block, place in entries if self._tail.get(block, place) == place]
        self.index.write(uuid, mark, current)
        with self._lock:
            for block, place in current:
                if self._tail.get(block) == place:
                    del self._tail[block]

    def forget(self, number: PackNumber, records: Records | None = None) -> None:
        """Look-ups no longer lead to this pack."""
        with self._lock:
            for block in [block for block, place in self._tail.items() if place.pack == number]:
                del self._tail[block]
        name = None
        try:
            name = self._name(number)
            records = records or self.footers.get(name.key)
        except (NotFound, Damaged):
            self.index.sweep({number})
        else:
            self.index.forget(number, map(records.id, range(len(records))))
        if name is not None:
            self.index.unmark(name.uuid)

    def drop(self, block: BlockId, place: Location) -> None:
        """A block is not readable where it was said to be: a later put may store it again."""
        with self._lock:
            if self._tail.get(block) == place:
                del self._tail[block]
        if self.index.get([block])[0] == place:
            self._tell(block, place)
            self.index.remove([block])

    def _tell(self, block: BlockId, place: Location) -> None:
        """A whole pack that is gone must not fill the log."""
        with self._lock:
            count = self._told[place.pack] = self._told.get(place.pack, 0) + 1
        if count <= _TOLD_MAX:
            _log.error("block %s is damaged in pack %d at offset %d", block.hex(), place.pack, place.offset)
        if count == _TOLD_MAX:
            _log.error("more that is damaged in pack %d is not told here: run graviton fsck", place.pack)
