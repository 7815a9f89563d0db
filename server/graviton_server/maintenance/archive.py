"""Dumps on the targets: parts that several dumps share, and a manifest for each. docs/format/backup.md.

A dump's text is cut where its content says (FastCDC), and each part is an object named by its hash: what has
not changed since an earlier dump is there already. A manifest lists the parts. Neither needs a database to be
found, nor an index to be read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Final, TypeVar

import msgspec
import zstandard
from blake3 import blake3

from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import Damaged, FormatError, GravitonError, NotFound, Unavailable
from gravitonfs.ports.target import SeveralTargets, Target, each_place, enough_of, writable_places

log = logging.getLogger(__name__)

FORMAT: Final = 1
PREFIX: Final = "backup/"
PARTS: Final = "backup/parts/"
DUMPS: Final = "backup/dumps/"
PART_MAX: Final = 1 << 20
_LEVEL: Final = 3
MANIFEST_MAX: Final = 64 << 20
_UUID: Final = 16
STORED_MAX: Final = PART_MAX + (64 << 10)
T = TypeVar("T")
_ID: Final = re.compile(r"[0-9]{8}t[0-9]{9}z-[0-9a-f]{8}")


class Part(msgspec.Struct, frozen=True, array_like=True):
    """``id``: BLAKE3 of its ``plain`` bytes, in hex."""

    id: str
    plain: int
    stored: int

    @property
    def key(self) -> str:
        return part_key(self.id)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One complete dump. ``new_bytes``: what it stored that no dump before it had. ``packs``: parts that have
    the UUIDs of the packs that it needs, one after the other, ``pack_count`` of them."""

    format: int
    id: str
    store: str
    fence: int
    made_ns: int
    engine: str
    lines: int
    plain_bytes: int
    new_bytes: int
    digest: str
    pack_count: int
    packs: tuple[Part, ...]
    parts: tuple[Part, ...]

    @property
    def key(self) -> str:
        return key_of(self.id)

    @property
    def stored_bytes(self) -> int:
        """Of all its parts, shared ones included."""
        return sum({part.id: part.stored for part in self.all_parts()}.values())

    def all_parts(self) -> Iterator[Part]:
        yield from self.parts
        yield from self.packs

    def encode(self) -> bytes:
        body = msgspec.json.encode(self)
        return body + b"\n" + blake3(body).hexdigest().encode() + b"\n"


def key_of(dump: str) -> str:
    return f"{DUMPS}{dump}.json"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def decode(data: bytes, key: str) -> Manifest:
    """Damaged; FormatError for one of a newer version."""
    body, _, tail = data.partition(b"\n")
    if tail.strip() != blake3(body).hexdigest().encode():
        raise Damaged(f"{key} is damaged: it does not match its digest")
    head = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    found = msgspec.json.decode(head.get("format", msgspec.Raw(b"0")), type=int)
    if found > FORMAT:
        raise newer(key, Format.BACKUP, found)
    if found != FORMAT:
        raise FormatError(f"{key} has no format that there ever was: {found}")
    return msgspec.json.decode(body, type=Manifest)


class Archive:
    """What is below ``backup/`` on a store's targets. Thread-safe; ``_known`` and ``_needed`` keep what was
    read: manifests, and the packs they need, never change. ``_distrusted``: keys of damaged parts."""

    def __init__(self, target: Target | SeveralTargets, store_uuid: bytes) -> None:
        self.target = target
        self.store_uuid = store_uuid
        self._known: dict[str, Manifest] = {}
        self._needed: dict[str, frozenset[bytes]] = {}
        self._distrusted: frozenset[str] = frozenset()

    # --- reading ---

    def ids(self) -> list[str]:
        """Of the dumps that the targets which answer have, the oldest first. Unavailable where none does."""
        found: set[str] = set()
        trouble: GravitonError | None = None
        answered = False
        for place in each_place(self.target):
            try:
                found.update(item.key for item in place.list(DUMPS))
                answered = True
            except GravitonError as error:
                log.warning("dumps on the target %s cannot be listed: %s", place.name, error)
                trouble = error
        if not answered:
            raise trouble or Unavailable("no target can be asked for its dumps")
        names = (key.removeprefix(DUMPS).removesuffix(".json") for key in found)
        return sorted(name for name in names if is_id(name))

    def manifest(self, dump: str) -> Manifest:
        """NotFound, Damaged where no target has a good one."""
        known = self._known.get(dump)
        if known is None:
            key = key_of(dump)
            known = self._known[dump] = self._first(key, MANIFEST_MAX, lambda data: decode(data, key))
        return known

    def manifests(self) -> list[Manifest]:
        """The oldest first; those that are damaged everywhere are told and passed by."""
        found, damaged = self._read_all()
        for dump, error in damaged.items():
            log.warning("the dump %s is passed by: %s", dump, error)
        return found

    def _read_all(self) -> tuple[list[Manifest], dict[str, GravitonError]]:
        found = []
        damaged: dict[str, GravitonError] = {}
        ids = self.ids()
        for dump in ids:
            try:
                found.append(self.manifest(dump))
            except (NotFound, Damaged) as error:
                damaged[dump] = error
        for gone in self._known.keys() - set(ids):
            self._forget(gone)
        return found, damaged

    def _forget(self, dump: str) -> None:
        self._known.pop(dump, None)
        self._needed.pop(dump, None)

    def pieces(self, manifest: Manifest) -> Iterator[bytes]:
        """Its text, each part verified, from whichever target has a good one. Damaged, NotFound."""
        return self._texts(manifest.parts)

    def _texts(self, parts: Iterable[Part]) -> Iterator[bytes]:
        for part in parts:
            yield self._first(part.key, STORED_MAX, partial(plain_of, part))

    def _first(self, key: str, most: int, read: Callable[[bytes], T]) -> T:
        trouble: GravitonError | None = None
        for place in each_place(self.target):
            try:
                return read(bytes(memoryview(place.get(key, 0, most))))
            except NotFound as error:
                trouble = trouble or error
            except GravitonError as error:
                log.warning("%s on the target %s: %s", key, place.name, error)
                trouble = error
        raise trouble or NotFound(f"no target has {key}")

    def needed(self, manifest: Manifest) -> frozenset[bytes]:
        """The UUIDs of its packs."""
        found = self._needed.get(manifest.id)
        if found is None:
            text = b"".join(self._texts(manifest.packs))
            found = frozenset(text[at : at + _UUID] for at in range(0, len(text), _UUID))
            self._needed[manifest.id] = found
        return found

    def all_needed(self, but: str = "") -> set[bytes]:
        """What any of the dumps needs; but one. What is damaged cannot be loaded, and needs nothing."""
        found: set[bytes] = set()
        for manifest in self.manifests():
            if manifest.id != but:
                with suppress(Damaged, NotFound):
                    found |= self.needed(manifest)
        return found

    # --- writing ---

    def distrust(self, keys: Iterable[str]) -> None:
        """What is there under these is bad, until the next call: a dump that has such parts stores them."""
        self._distrusted = frozenset(keys)

    def good_parts(self) -> dict[Target, dict[str, int]]:
        """As ``places``; what is known to be bad is taken for not there."""
        return {
            place: {key: length for key, length in parts.items() if key not in self._distrusted}
            for place, parts in self.places().items()
        }

    def places(self) -> dict[Target, dict[str, int]]:
        """Where a dump goes, and the parts that each place has, with their lengths. Unavailable where the
        places do not suffice."""
        found: dict[Target, dict[str, int]] = {}
        trouble: GravitonError | None = None
        for place in writable_places(self.target):
            try:
                found[place] = {item.key: item.length for item in place.list(PARTS)}
            except GravitonError as error:
                trouble = error
        if not self.enough(found):
            raise Unavailable(f"too few targets can be written to for a dump: {trouble or 'they are away'}")
        return found

    def enough(self, places: Iterable[Target]) -> bool:
        """Whether what is on these is at the write quorum."""
        return enough_of(self.target, list(places))

    def store(self, manifest: Manifest, places: Iterable[Target]) -> None:
        """The dump is there when this returns: at the write quorum, durable. Its parts are."""
        data = manifest.encode()
        done = []
        trouble: GravitonError | None = None
        for place in places:
            try:
                place.put(manifest.key, BytesIO(data), len(data))
                done.append(place)
            except GravitonError as error:
                log.warning("the dump %s is not on the target %s: %s", manifest.id, place.name, error)
                trouble = error
        if not enough_of(self.target, done):
            raise Unavailable(f"the dump is on too few targets: {trouble}") from trouble

    def remove(self, dumps: Iterable[str]) -> None:
        """Manifests; ``sweep`` then removes what they alone have needed. A target that is away keeps its
        copies, and shows them when it is back: whoever thins the dumps out removes them again."""
        for dump in dumps:
            for place in each_place(self.target):
                try:
                    place.delete(key_of(dump))
                except GravitonError as error:
                    log.warning("the dump %s stays on the target %s: %s", dump, place.name, error)
            self._forget(dump)

    def sweep(self) -> int:
        """Remove parts that no dump needs; how many bytes. Nobody may be writing a dump. While there is a
        damaged manifest, which may be mended, nothing is removed."""
        found, damaged = self._read_all()
        if damaged:
            log.warning("parts of dumps stay: %s", "; ".join(map(str, damaged.values())))
            return 0
        kept = {part.key for manifest in found for part in manifest.all_parts()}
        freed = 0
        for place in each_place(self.target):
            try:
                for item in list(place.list(PARTS)):
                    if item.key not in kept:
                        place.delete(item.key)
                        freed += item.length
            except GravitonError as error:
                log.warning("parts of dumps stay on the target %s: %s", place.name, error)
        return freed


def compressed(data: memoryview) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


def part_key(number: str) -> str:
    return f"{PARTS}{number[:2]}/{number}"


def plain_of(part: Part, data: bytes) -> bytes:
    """What is in it. Damaged."""
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=part.plain)
    except zstandard.ZstdError as error:
        raise Damaged(f"{part.key} does not decompress: {error}") from error
    if blake3(plain).hexdigest() != part.id:
        raise Damaged(f"{part.key} does not match its name")
    return plain
