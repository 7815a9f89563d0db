"""Writing a dump to the targets.

Order of durable steps: the store knows that a dump is being written, and condemns nothing; all parts, at the
write quorum; the store knows which packs the dump needs; its manifest. What a crash leaves before the last
step are parts that the next sweep removes, and packs held for a dump that the next run lets go.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

from blake3 import blake3

from graviton_server.maintenance.archive import (
    FORMAT,
    PART_MAX,
    Archive,
    Manifest,
    Part,
    compressed,
    part_key,
)
from graviton_server.maintenance.collect import SHARED_MARGIN_NS, dead_packs
from graviton_server.maintenance.mark import Mark, rows_of
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.core.chunking import Chunker
from gravitonfs.core.format import VolumeFormat
from gravitonfs.errors import GravitonError, Unavailable
from gravitonfs.ports.packs import PackRow, PackState
from gravitonfs.ports.target import Target

log = logging.getLogger(__name__)

_FORMAT: Final = VolumeFormat(block_min=PART_MAX // 16, block_average=PART_MAX // 4, block_max=PART_MAX)
_AT_ONCE: Final = 8 * PART_MAX
_THREADS: Final = 4
_AHEAD: Final = 8
"""Parts on their way at once: they are the memory that a dump takes."""


def new_id(clock_ns: int) -> str:
    """They sort by time."""
    moment = datetime.fromtimestamp(clock_ns // 10**9, UTC)
    return f"{moment:%Y%m%dt%H%M%S}{clock_ns // 10**6 % 1000:03}z-{secrets.token_hex(4)}"


def live_packs(stores: Stores) -> list[PackRow]:
    return [row for row in rows_of(stores.packs) if row.state is PackState.LIVE]


def needed_packs(stores: Stores, mark: Mark) -> list[PackRow]:
    """What a dump needs, asked for when its text is complete; ``mark`` was made before it began.

    Whatever was live then still is, because nothing is condemned meanwhile. What a collector would give up by
    that mark, nothing in the text names: else dumps would hold for ever what each finds live because the one
    before holds it.
    """
    before = mark.began_ns - SHARED_MARGIN_NS  # rows may tell late who relied on them
    dead = {pack.row.number for pack in dead_packs(mark)}
    return [row for row in live_packs(stores) if row.number not in dead or row.relied_ns >= before]


class Writer:
    """Of one dump. Used by one thread; parts go up on others, which touch nothing of it."""

    def __init__(self, stores: Stores, archive: Archive, work: Work) -> None:
        self._stores = stores
        self._archive = archive
        self._work = work
        self._places = archive.good_parts()
        self._parts: list[Part] = []
        self._lines = self._plain = self._new = 0
        self._digest = blake3()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="dump")
        self._going: deque[Future[list[tuple[Target, GravitonError]]]] = deque()
        self._failed: dict[Target, GravitonError] = {}

    def write(self) -> None:
        """All of its text, durable at the write quorum."""
        try:
            self._parts = [self._add(data) for data in _cut(self._told())]
            self._settle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _told(self) -> Iterator[bytes]:
        for piece in self._stores.upkeep.dump():
            self._digest.update(piece)
            self._lines += piece.count(b"\n")
            self._plain += len(piece)
            self._work.tell(self._plain, 0, "bytes of namespace dumped")
            self._work.give_way()
            yield piece

    def _add(self, data: memoryview) -> Part:
        name = blake3(data).hexdigest()
        key = part_key(name)
        stored = next((keys[key] for keys in self._places.values() if key in keys), 0)
        lacking = [place for place in self._good() if key not in self._places[place]]
        if lacking:
            packed = compressed(data)
            if not stored:
                stored = len(packed)
                self._new += stored
            for place in lacking:
                self._places[place][key] = stored
            if len(self._going) >= _AHEAD:
                self._take()
            self._going.append(self._pool.submit(_put, lacking, key, packed))
        return Part(name, len(data), stored)

    def _settle(self) -> None:
        while self._going:
            self._take()

    def _take(self) -> None:
        for place, error in self._going.popleft().result():
            if place not in self._failed:
                log.warning("the target %s is left out of this dump: %s", place.name, error)
            self._failed[place] = error
        if not self._archive.enough(self._good()):
            why = "; ".join(f"{place.name}: {error}" for place, error in self._failed.items())
            raise Unavailable(f"too few targets take the dump: {why}")

    def _good(self) -> list[Target]:
        return [place for place in self._places if place not in self._failed]

    def finish(self, dump: str, made_ns: int, packs: Sequence[PackRow]) -> Manifest:
        """The manifest, durable at the write quorum: the dump is complete."""
        uuids = b"".join(sorted(row.uuid for row in packs))
        needed = [self._add(data) for data in _cut([uuids])]
        self._settle()
        manifest = Manifest(
            format=FORMAT,
            id=dump,
            store=self._archive.store_uuid.hex(),
            fence=self._stores.upkeep.fence(),
            made_ns=made_ns,
            engine=self._stores.owner,
            lines=self._lines,
            plain_bytes=self._plain,
            new_bytes=self._new,
            digest=self._digest.hexdigest(),
            pack_count=len(packs),
            packs=tuple(needed),
            parts=tuple(self._parts),
        )
        places = self._good()
        self._check_swept(manifest, places)
        self._archive.store(manifest, places)
        return manifest

    def _check_swept(self, manifest: Manifest, places: list[Target]) -> None:
        """Whoever took this dump for dead may have removed parts that no manifest named."""
        wanted = {part.key for part in manifest.all_parts()}
        there = self._archive.places()
        for place in places:
            if not wanted <= there.get(place, {}).keys():
                raise Unavailable("parts of the dump were removed while it was written: make it anew")


def _cut(pieces: Iterable[bytes]) -> Iterator[memoryview]:
    """Boundaries depend on the content alone, however it comes."""
    chunker = Chunker(_FORMAT)
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _AT_ONCE:
            data = memoryview(bytes(held))
            at = 0
            for length in chunker.cut(data, final=False):
                yield data[at : at + length]
                at += length
            held = bytearray(data[at:])
    data = memoryview(bytes(held))
    at = 0
    for length in chunker.cut(data, final=True):
        yield data[at : at + length]
        at += length


def _put(places: list[Target], key: str, data: bytes) -> list[tuple[Target, GravitonError]]:
    failed = []
    for place in places:
        try:
            place.put(key, BytesIO(data), len(data))
        except GravitonError as error:
            failed.append((place, error))
    return failed
