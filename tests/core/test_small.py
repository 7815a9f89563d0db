"""Units, blob ids, codecs, formats and the table of errors."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gravitonfs import errors
from gravitonfs.core import codec
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import BlobId
from gravitonfs.core.units import format_size, parse_duration, parse_size
from gravitonfs.errors import STATUS, Damaged, FormatError, GravitonError, Invalid, Kind, error_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("1KB", 1000),
        ("1 KiB", 1024),
        ("100MB", 10**8),
        ("1.5GiB", 3 << 29),
        ("64k", 65536),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "1XB", "-1", "1e3", "1 2"])
def test_a_wrong_size_is_told(text: str) -> None:
    with pytest.raises(Invalid, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("250ms", 0.25), ("2d", 172800)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_sizes_for_people() -> None:
    assert [format_size(n) for n in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**62))
def test_blob_ids_come_back(digest: bytes, length: int) -> None:
    blob = BlobId(digest, length)
    assert BlobId.parse(str(blob)) == blob


@pytest.mark.parametrize(
    "text", ["", "blake3:", "blake3:" + "0" * 63 + ":1", "blake3:" + "G" * 64 + ":1", "x"]
)
def test_a_wrong_blob_id_is_told(text: str) -> None:
    with pytest.raises(Invalid, match="is no blob id"):
        BlobId.parse(text)


@given(st.binary(max_size=5000))
def test_blocks_come_back(data: bytes) -> None:
    kind, payload = codec.encode(data, 1)
    assert bytes(codec.decode(kind, payload, len(data))) == data
    assert len(memoryview(payload)) <= len(data)


def test_random_bytes_stay_raw_and_uncopied() -> None:
    data = os.urandom(100_000)
    kind, payload = codec.encode(data, 1)
    assert kind == codec.RAW
    assert payload is data


def test_a_wrong_length_is_damage() -> None:
    kind, payload = codec.encode(b"a" * 1000, 1)
    assert kind == codec.ZSTD
    for length in (999, 1001):
        with pytest.raises(Damaged):
            codec.decode(kind, payload, length)
    with pytest.raises(Damaged):
        codec.decode(7, payload, 1000)


def test_a_newer_format_is_refused_by_name() -> None:
    newer = VolumeFormat(version=99).to_json()
    with pytest.raises(FormatError, match="format 99"):
        VolumeFormat.from_json(newer)
    assert VolumeFormat.from_json(VolumeFormat().to_json()) == VolumeFormat()


def test_every_kind_of_error_has_one_status_and_one_class() -> None:
    assert set(STATUS) == set(Kind)
    classes = {cls.kind: cls for cls in GravitonError.__subclasses__() if cls.__module__ == errors.__name__}
    assert set(classes) == set(Kind)
    for kind, cls in classes.items():
        if cls not in (errors.MissingBlocks, errors.Gap):
            error = error_of(kind, "told")
            assert type(error) is cls
            assert error.errno == STATUS[kind].errno


def test_errors_come_back_as_what_they_were() -> None:
    """An exception that somebody derives for himself does not take the place of the general one."""
    from gravitonfs.errors import GravitonError, Kind, Unavailable, error_of

    class Mine(GravitonError):
        kind = Kind.UNAVAILABLE

    assert type(error_of(Mine.kind, "text")) is Unavailable
