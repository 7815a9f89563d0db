"""Dumps of the namespace: compressed, checked when read, and roots of collection while they are kept."""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard
from blake3 import blake3
from typing_extensions import Buffer

from graviton_server.maintenance.reports import Dumped
from graviton_server.maintenance.stores import Stores
from graviton_server.maintenance.work import Work
from gravitonfs.core.durable import sync_directory
from gravitonfs.core.extents import unpack_row
from gravitonfs.core.ids import HOLE, BlockId, PackNumber
from gravitonfs.errors import Damaged, NoSpace, Unavailable

Sink = Callable[[Buffer], object]

SUFFIX: Final = ".dump"
_LEVEL: Final = 3
_LOOKED_UP: Final = 4096
_TRIES: Final = 5
_PIECE: Final = 1 << 20
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_REGION_TABLES: Final = ("regions", "regions_history")
_decode = msgspec.json.Decoder().decode


def dump(stores: Stores, sink: Sink, work: Work) -> Dumped:
    """The namespace at one moment, compressed, into ``sink``. The last line inside proves it whole."""
    began = time.monotonic()
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    digest = blake3()
    lines = plain = size = 0

    def emit(data: bytes) -> None:
        nonlocal size
        if data:
            digest.update(data)
            size += len(data)
            sink(data)

    for piece in stores.upkeep.dump():
        lines += piece.count(b"\n")
        plain += len(piece)
        work.tell(plain, 0, "bytes of namespace dumped")
        emit(compressor.compress(piece))
    emit(compressor.flush())
    return Dumped(
        lines=lines,
        plain_bytes=plain,
        bytes=size,
        digest=digest.hexdigest(),
        seconds=time.monotonic() - began,
    )


def dump_to_file(stores: Stores, path: Path, work: Work) -> Dumped:
    """Into a file that appears whole or not at all; durable, its name included, when this returns."""
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb") as file:
            report = dump(stores, file.write, work)
            file.flush()
            os.fsync(file.fileno())
        os.rename(draft, path)
        sync_directory(path.parent)
    except OSError as error:
        raise (NoSpace if error.errno == 28 else Unavailable)(f"cannot write {path}: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return report


def plain_lines(source: Iterable[Buffer]) -> Iterator[bytes]:
    """Pieces of the text of a dump, compressed or not. Raises ``Damaged`` where it does not unpack."""
    pieces = (bytes(memoryview(piece)) for piece in source)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= len(_ZSTD_MAGIC):
            break
    if not head.startswith(_ZSTD_MAGIC):
        yield head
        yield from pieces
        return
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    try:
        yield unpacker.decompress(head)
        for piece in pieces:
            yield unpacker.decompress(piece)
    except zstandard.ZstdError as error:
        raise Damaged(f"the dump does not decompress: {error}") from error


def file_pieces(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def dumped_blocks(source: Iterable[Buffer]) -> Iterator[BlockId]:
    """The blocks that a dump needs, with repetitions."""
    wanted = False
    rest = b""
    for piece in plain_lines(source):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                header = _decode(line)
                wanted = header.get("table") in _REGION_TABLES
            elif wanted:
                yield from _blocks_of(_decode(line))


def hold(
    stores: Stores,
    blocks: Callable[[], Iterable[BlockId]],
    work: Work,
    keep: Callable[[Sequence[PackNumber]], list[PackNumber]],
) -> None:
    """Have ``keep`` hold the packs of these blocks, which are asked for anew with each try: they may be many
    more than memory has room for. What is loose is in the dump itself.

    Raises Damaged where a block is nowhere."""
    for _ in range(_TRIES):
        packs: set[PackNumber] = set()
        for page in _pages(blocks()):
            work.check()
            found, lacking = _located(stores, page)
            if lacking and stores.blocks.catch_up():  # packs of other engines, or loose blocks put into some
                found, lacking = _located(stores, page)
            if lacking:
                raise Damaged("blocks that the dump names are in no pack: run graviton fsck")
            packs.update(found)
        gone = keep(sorted(packs))
        if not gone:
            return
        stores.blocks.forget_packs(gone)
    raise Unavailable("the packs that the dump names change too fast: try again")


def _pages(blocks: Iterable[BlockId]) -> Iterator[list[BlockId]]:
    page: set[BlockId] = set()
    for block in blocks:
        page.add(block)
        if len(page) >= _LOOKED_UP:
            yield sorted(page)
            page = set()
    if page:
        yield sorted(page)


def _located(stores: Stores, blocks: Sequence[BlockId]) -> tuple[set[PackNumber], list[BlockId]]:
    """The packs that have them, and those that are neither in a pack nor loose."""
    places = dict(zip(blocks, stores.blocks.locate(blocks), strict=True))
    packs = {place.pack for place in places.values() if place is not None}
    elsewhere = [block for block, place in places.items() if place is None]
    loose = stores.loose.loose_get(elsewhere) if elsewhere else {}
    return packs, [block for block in elsewhere if block not in loose]


def _blocks_of(row: list[Any]) -> Iterator[BlockId]:
    data = row[4]
    packed = b64decode(data["b"]) if isinstance(data, dict) else b""
    for extent in unpack_row(0, packed):
        if extent.block != HOLE:
            yield extent.block


def retained(directory: Path) -> list[Path]:
    """The dumps that are kept with the volume: what they name is not collected."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX and path.is_file())


def retained_roots(directory: Path) -> Iterator[Iterator[BlockId]]:
    for path in retained(directory):
        yield dumped_blocks(file_pieces(path))
