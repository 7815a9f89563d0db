"""Request bodies: whatever way the bytes arrive, they come out the same, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graviton_webdav.bodies import Body, body_of
from graviton_webdav.conditions import parse_if
from graviton_webdav.faults import Refused


class Wire:
    """The bytes of a connection, handed out in pieces of given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes

    def recv(self, limit: int) -> bytes:
        size = min(limit, self.sizes.pop() if self.sizes else limit)
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def readline(self, limit: int = -1) -> bytes:
        end = self.data.find(b"\n") + 1 or len(self.data)
        end = min(end, limit) if limit >= 0 else end
        line, self.data = self.data[:end], self.data[end:]
        return line


pieces = st.lists(st.binary(min_size=1, max_size=300), max_size=6)
sizes = st.lists(st.integers(1, 100), max_size=20)


def chunked(parts: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return body + b"0\r\n" + trailer + b"\r\n"


@given(pieces, sizes, st.sampled_from([b"", b";name=value"]), st.sampled_from([b"", b"X: y\r\n"]))
def test_chunks_come_out_as_they_went_in(
    parts: list[bytes], cuts: list[int], extension: bytes, trailer: bytes
) -> None:
    wire = Wire(chunked(parts, extension, trailer) + b"NEXT", cuts)
    body = body_of(wire, {b"Transfer-Encoding": b"chunked"})
    assert body.read_all(10_000) == b"".join(parts)
    assert body.finished
    assert wire.data == b"NEXT"


@given(pieces.filter(bool), st.data())
def test_a_chunked_body_cut_anywhere_is_refused(parts: list[bytes], data: st.DataObject) -> None:
    whole = chunked(parts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Refused) as refused:
        Body(Wire(whole[:cut], []), None).read_all(10_000)
    assert (refused.value.status, refused.value.close) == (400, True)


@given(st.binary(max_size=300), st.integers(0, 300), sizes)
def test_a_declared_length_is_kept(data: bytes, declared: int, cuts: list[int]) -> None:
    wire = Wire(data, cuts)
    body = body_of(wire, {b"Content-Length": b"%d" % declared})
    if declared <= len(data):
        assert body.read_all(1000) == data[:declared]
        assert wire.data == data[declared:]
    else:
        with pytest.raises(Refused):
            body.read_all(1000)


@given(st.binary(min_size=1, max_size=200))
def test_rubbish_for_chunks_never_passes_for_more_than_it_is(data: bytes) -> None:
    try:
        body = Body(Wire(data, []), None).read_all(1000)
    except Refused:
        return
    assert len(body) < len(data)


def test_what_is_left_is_drained_within_a_bound() -> None:
    body = Body(Wire(bytes(1000), []), 1000)
    assert not body.drain(999)
    assert Body(Wire(bytes(1000), []), 1000).drain(1000)
    waiting = Body(Wire(bytes(1000), []), 1000, on_read=lambda: None)
    assert not waiting.drain(10_000), "a client that waits for 100 Continue may never send"


@given(st.text("()<>[]\"'Not urn:aW/ ", max_size=60))
def test_any_if_header_is_parsed_or_refused(text: str) -> None:
    try:
        lists = parse_if(text)
    except Refused:
        return
    assert all(item.conditions for item in lists)
