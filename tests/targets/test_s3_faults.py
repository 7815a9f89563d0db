"""The S3 target behind a proxy that delays, cuts and corrupts connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from graviton_server.targets.s3 import S3Target
from gravitonfs.errors import AccessDenied, Damaged, GravitonError, NoSpace, NotFound, Unavailable
from gravitonfs.testing.target_suite import store
from harness.buckets import settings
from harness.proxy import TcpProxy
from harness.s3server import S3Server

STORE = bytes(range(16))
MIB = 1 << 20


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", s3_server.port) as made:
        yield made


@pytest.fixture
def target(s3_server: S3Server, proxy: TcpProxy) -> Iterator[S3Target]:
    chosen = settings(
        s3_server, endpoint=f"http://127.0.0.1:{proxy.port}", part_size=5 * MIB, read_timeout=3.0
    )
    made = S3Target.make(chosen, STORE)
    yield made
    made.close()


def test_an_answer_cut_in_its_middle_is_asked_for_again(target: S3Target, proxy: TcpProxy) -> None:
    data = os.urandom(3 * MIB)
    store(target, "packs/ab/x.pack", data)
    before = target.requests()["get"]
    proxy.cut("down", 1 * MIB)
    assert bytes(target.get("packs/ab/x.pack", 0, len(data))) == data
    proxy.wait_fired(1)
    assert target.requests()["get"] >= before + 2


def test_an_answer_that_always_ends_early_is_an_error_never_short(target: S3Target, proxy: TcpProxy) -> None:
    data = os.urandom(3 * MIB)
    store(target, "packs/ab/x.pack", data)
    for _ in range(3):
        proxy.cut("down", 1 * MIB, matching=b"HTTP/1.1 206")
    with pytest.raises(Unavailable, match=r"packs/ab/x\.pack"):
        target.get("packs/ab/x.pack", 0, len(data))
    assert bytes(target.get("packs/ab/x.pack", 0, len(data))) == data


@pytest.mark.parametrize("size", [2 * MIB, 12 * MIB])
def test_an_upload_that_is_cut_is_sent_again(target: S3Target, proxy: TcpProxy, size: int) -> None:
    data = os.urandom(size)
    proxy.cut("up", 1 * MIB)
    store(target, "packs/ab/x.pack", data)
    proxy.wait_fired(1)
    assert bytes(target.get("packs/ab/x.pack", 0, size)) == data


@pytest.mark.parametrize("size", [2 * MIB, 12 * MIB])
@pytest.mark.parametrize("md5", [False, True])
def test_bytes_spoilt_on_the_way_up_are_noticed_and_sent_again(
    target: S3Target, proxy: TcpProxy, size: int, md5: bool
) -> None:
    target._uploads._md5 = md5
    data = os.urandom(size)
    proxy.corrupt("up", 1 * MIB)
    store(target, "packs/ab/x.pack", data)
    proxy.wait_fired(1)
    assert bytes(target.get("packs/ab/x.pack", 0, size)) == data


def test_bytes_spoilt_again_and_again_are_damaged_and_leave_nothing(
    target: S3Target, proxy: TcpProxy
) -> None:
    for _ in range(6):
        proxy.corrupt("up", 1 * MIB, matching=b"PUT /")
    with pytest.raises(Damaged):
        store(target, "packs/ab/x.pack", os.urandom(2 * MIB))
    proxy.heal()
    with pytest.raises(NotFound):
        target.head("packs/ab/x.pack")
    assert target.sweep_uploads(older_than=timedelta(0)) == 0


@pytest.mark.parametrize("size", [2 * MIB, 12 * MIB])
def test_a_store_that_does_not_repeat_the_checksum_is_sent_another(
    target: S3Target, proxy: TcpProxy, size: int
) -> None:
    data = os.urandom(size)
    proxy.corrupt("down", 0, matching=b"X-Amz-Checksum-Crc32c")  # as if the header were not there
    store(target, "packs/ab/x.pack", data)
    proxy.wait_fired(1)
    proxy.corrupt("up", 1 * MIB, matching=b"Content-MD5")
    store(target, "packs/ab/y.pack", data)
    proxy.wait_fired(2)
    for key in ("packs/ab/x.pack", "packs/ab/y.pack"):
        assert bytes(target.get(key, 0, size)) == data
    assert target.sweep_uploads(older_than=timedelta(0)) == 0


def test_an_answer_that_gets_lost_is_no_error(target: S3Target, proxy: TcpProxy) -> None:
    """The request was carried out; the repetition must say so, too."""
    data = os.urandom(12 * MIB)
    proxy.cut("down", 0, matching=b"CompleteMultipartUploadResult")
    store(target, "packs/ab/x.pack", data)
    proxy.wait_fired(1)
    assert bytes(target.get("packs/ab/x.pack", 0, len(data))) == data
    proxy.cut("down", 0, matching=b"HTTP/1.1 204")
    target.delete("packs/ab/x.pack")
    proxy.wait_fired(2)


def refusal(status: str, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>as the test asked</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("503 Slow Down", "SlowDown"),
        ("503 Service Unavailable", "ServiceUnavailable"),
        ("500 No", "InternalError"),
    ],
)
def test_a_store_that_is_too_busy_is_asked_again(
    target: S3Target, proxy: TcpProxy, status: str, code: str
) -> None:
    for method in (b"PUT /", b"GET /", b"HEAD /", b"DELETE /"):
        proxy.answer(refusal(status, code), matching=method)
    store(target, "packs/ab/x.pack", b"x")
    assert bytes(target.get("packs/ab/x.pack", 0, 1)) == b"x"
    assert target.head("packs/ab/x.pack").length == 1
    target.delete("packs/ab/x.pack")
    proxy.wait_fired(4)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("403 Forbidden", "AccessDenied", AccessDenied),
        ("403 Forbidden", "QuotaExceeded", NoSpace),
        ("507 Insufficient Storage", "InsufficientStorage", NoSpace),
        ("404 Not Found", "NoSuchBucket", Unavailable),
    ],
)
def test_a_refusal_is_told_as_what_it_is(
    target: S3Target, proxy: TcpProxy, status: str, code: str, kind: type[GravitonError]
) -> None:
    for _ in range(3):
        proxy.answer(refusal(status, code), matching=b"PUT /")
    with pytest.raises(kind, match="as the test asked"):
        store(target, "packs/ab/x.pack", b"x")
    proxy.heal()
    store(target, "packs/ab/x.pack", b"x")  # over when it is mended


def test_a_server_that_does_not_answer_is_unavailable_not_a_hang(target: S3Target, proxy: TcpProxy) -> None:
    store(target, "packs/ab/x.pack", b"x")
    proxy.refusing = True
    proxy.cut_all()
    for call in (
        lambda: target.get("packs/ab/x.pack", 0, 1),
        lambda: target.head("packs/ab/x.pack"),
        lambda: store(target, "packs/ab/y.pack", b"y"),
        lambda: list(target.list("packs/")),
        lambda: target.delete("packs/ab/x.pack"),
    ):
        with pytest.raises(Unavailable):
            call()
    proxy.heal()
    assert bytes(target.get("packs/ab/x.pack", 0, 1)) == b"x"


def test_a_connection_that_stalls_is_given_up_in_time(target: S3Target, proxy: TcpProxy) -> None:
    store(target, "packs/ab/x.pack", b"x" * MIB)
    proxy.stall("down", 0, matching=b"HTTP/1.1 206")
    assert len(bytes(target.get("packs/ab/x.pack", 0, MIB))) == MIB  # by another one
    proxy.wait_fired(1)


def test_a_slow_connection_only_takes_longer(target: S3Target, proxy: TcpProxy) -> None:
    proxy.delay = 0.002
    data = os.urandom(MIB)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store(target, f"packs/ab/{n}.pack", data), range(4)))
        answers = pool.map(lambda n: bytes(target.get(f"packs/ab/{n}.pack", 0, MIB)), range(4))
        assert list(answers) == [data] * 4


def test_idle_connections_that_were_cut_meanwhile_are_replaced(target: S3Target, proxy: TcpProxy) -> None:
    store(target, "packs/ab/x.pack", b"x")
    proxy.cut_all()
    assert bytes(target.get("packs/ab/x.pack", 0, 1)) == b"x"
