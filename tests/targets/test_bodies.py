"""What is sent to a bucket from where it lies in memory is what was stored there."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO
from typing import BinaryIO, cast

import google_crc32c
import pytest

from graviton_server.targets.s3.bodies import Body, crc32c, md5, taken
from gravitonfs.errors import Invalid

DATA = bytes(range(256)) * 4096
WHOLE = [memoryview(DATA)]
PARTS = [
    memoryview(DATA)[start:stop] for start, stop in ((0, 48), (48, 48), (48, 700_001), (700_001, 1 << 20))
]


@pytest.mark.parametrize("views", [WHOLE, PARTS], ids=["whole", "parts"])
@pytest.mark.parametrize("start", [0, 47, 48, 500_000, 1 << 20])
def test_it_is_read_from_any_place_as_a_file_is(views: list[memoryview], start: int) -> None:
    body = Body(views)
    body.read(10)
    assert body.seek(start) == body.tell() == start
    assert b"".join(iter(lambda: bytes(body.read(16_384)), b"")) == DATA[start:]
    assert body.tell() == body.seek(0, 2) == len(body) == len(DATA)
    body.seek(start)
    assert body.read() == DATA[start:]


@pytest.mark.parametrize("views", [WHOLE, PARTS], ids=["whole", "parts"])
def test_checksums_do_not_depend_on_how_it_lies(views: list[memoryview]) -> None:
    assert crc32c(views) == base64.b64encode(google_crc32c.value(DATA).to_bytes(4, "big")).decode()
    assert md5(views) == base64.b64encode(hashlib.md5(DATA).digest()).decode()


class Held(BytesIO):
    def views(self, length: int) -> list[memoryview]:
        return [memoryview(self.read(length // 2)), memoryview(self.read(length - length // 2))]


@pytest.mark.parametrize("kind", [BytesIO, Held])
def test_a_short_one_is_refused(kind: type[BytesIO]) -> None:
    body = cast(BinaryIO, kind(DATA))
    assert b"".join(taken(body, 1000)) == DATA[:1000]
    with pytest.raises(Invalid, match="1000 bytes early"):
        taken(body, len(DATA))
