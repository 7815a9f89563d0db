"""The S3 target on a real S3 server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from graviton_server.targets.s3 import S3Settings, S3Target
from gravitonfs.errors import AccessDenied, FormatError, Invalid, NotFound, Unavailable
from gravitonfs.testing.target_suite import TargetSuite, store
from harness.buckets import client, new_bucket, settings
from harness.s3server import S3Server

STORE = bytes(range(16))
MIB = 1 << 20


@pytest.fixture
def target(s3_server: S3Server) -> Iterator[S3Target]:
    made = S3Target.make(settings(s3_server), STORE)
    yield made
    made.close()


class TestS3Target(TargetSuite):
    pass


class TestS3TargetWithContentMd5(TargetSuite):
    @pytest.fixture
    def target(self, s3_server: S3Server) -> Iterator[S3Target]:
        made = S3Target.make(settings(s3_server), STORE)
        made._uploads._md5 = True  # as with a store that does not answer with CRC-32C
        yield made
        made.close()


@pytest.mark.parametrize("md5", [False, True])
def test_large_objects_go_up_in_parts(s3_server: S3Server, md5: bool) -> None:
    target = S3Target.make(settings(s3_server, part_size=5 * MIB), STORE)
    target._uploads._md5 = md5
    before = target.requests()
    data = os.urandom(17 * MIB + 5)
    store(target, "packs/ab/x.pack", data)
    assert bytes(target.get("packs/ab/x.pack", 0, len(data) + 9)) == data
    after = target.requests()
    assert after["part"] - before.get("part", 0) == 4
    assert after["multipart"] == 2
    with pytest.raises(Invalid):
        target.put("packs/ab/y.pack", BytesIO(data), len(data) - 1)
    with pytest.raises(Invalid):
        target.put("packs/ab/y.pack", BytesIO(data), len(data) + 1)
    with pytest.raises(NotFound):
        target.head("packs/ab/y.pack")
    assert target.sweep_uploads(older_than=timedelta(0)) == 0  # what failed left no upload
    target.close()


def test_an_object_of_too_many_parts_is_refused(s3_server: S3Server) -> None:
    target = S3Target.make(settings(s3_server, part_size=5 * MIB, max_parts=2), STORE)
    store(target, "packs/ab/x.pack", bytes(10 * MIB))
    with pytest.raises(Invalid, match="max-parts"):
        store(target, "packs/ab/y.pack", bytes(10 * MIB + 1))
    target.close()


def test_ranges_are_one_request(target: S3Target) -> None:
    data = os.urandom(MIB)
    store(target, "packs/ab/x.pack", data)
    before = target.requests()["get"]
    answers = target.get_ranges("packs/ab/x.pack", [(0, 100), (5000, 100), (900_000, 50)])
    assert [bytes(one) for one in answers] == [data[:100], data[5000:5100], data[900_000:900_050]]
    assert target.requests()["get"] == before + 1


def test_uploads_of_dead_processes_are_removed(s3_server: S3Server, target: S3Target) -> None:
    other = client(s3_server.endpoint)
    bucket = target.settings.bucket
    for key in ("packs/ab/dead.pack", "somebody/else"):
        begun = other.create_multipart_upload(Bucket=bucket, Key=key)
        other.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"x")
    assert target.sweep_uploads() == 0  # may be somebody's who lives
    assert target.sweep_uploads(older_than=timedelta(0)) == 1
    assert target.sweep_uploads(older_than=timedelta(0)) == 0
    left = other.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [item["Key"] for item in left] == ["somebody/else"]


def test_a_bucket_of_another_store_is_refused(s3_server: S3Server) -> None:
    chosen = settings(s3_server)
    with pytest.raises(NotFound, match="no target"):
        S3Target(chosen, "s3", STORE)
    S3Target.make(chosen, STORE).close()
    S3Target.make(chosen, STORE).close()
    S3Target(chosen, "s3", STORE).close()
    for kind in (S3Target.make, lambda s, uuid: S3Target(s, "s3", uuid)):
        with pytest.raises(FormatError, match="belongs to the store"):
            kind(chosen, bytes(16))


def test_packs_without_a_store_object_are_left_alone(s3_server: S3Server) -> None:
    chosen = settings(s3_server)
    target = S3Target.make(chosen, STORE)
    store(target, "packs/ab/x.pack", b"x")
    target.delete("store")
    target.close()
    with pytest.raises(FormatError, match="put its 'store' object back"):
        S3Target.make(chosen, STORE)


def test_wrong_credentials_are_told(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(s3_server)
    S3Target.make(chosen, STORE).close()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDenied, match="check the credentials"):
        S3Target(chosen, "s3", STORE)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        S3Target(chosen, "s3", STORE)


def test_a_bucket_that_may_only_be_read(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(s3_server)
    writer = S3Target.make(chosen, STORE)
    store(writer, "packs/ab/x.pack", b"x")
    writer.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "graviton-reader")
    reader = S3Target(chosen, "s3", STORE)
    assert bytes(reader.get("packs/ab/x.pack", 0, 5)) == b"x"
    with pytest.raises(AccessDenied):
        store(reader, "packs/ab/y.pack", b"y")
    reader.close()


def test_no_bucket_and_no_server_are_told(s3_server: S3Server) -> None:
    with pytest.raises(Unavailable, match="create the bucket"):
        S3Target.make(settings(s3_server, bucket="no-such-bucket"), STORE)
    with pytest.raises(Unavailable):
        S3Target.make(S3Settings("bucket", endpoint="http://127.0.0.1:9", attempts=2), STORE)


def test_settings_are_checked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with caplog.at_level(logging.WARNING):
        assert S3Settings("b", part_size=5_000_000).part_size == 5 * MIB  # the guide's 5MB
    assert "raised to" in caplog.text
    assert S3Settings("b").addressing == "auto"
    monkeypatch.setenv("GRAVITON_S3_ENDPOINT", "http://store:9000")
    assert (S3Settings("b").endpoint, S3Settings("b").addressing) == ("http://store:9000", "path")
    assert S3Settings("b", path_style=False).addressing == "auto"
    assert S3Settings("b", sse="aws:kms:key/1", storage_class="STANDARD_IA").object_options == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key/1",
        "StorageClass": "STANDARD_IA",
    }
    for wrong in ({"bucket": ""}, {"max_parts": 10_001}, {"max_parts": 0}, {"sse": "rot13"}):
        with pytest.raises(Invalid):
            S3Settings(**{"bucket": "b", **wrong})


def test_storage_class_is_passed_on(s3_server: S3Server) -> None:
    target = S3Target.make(settings(s3_server, storage_class="STANDARD_IA", part_size=5 * MIB), STORE)
    for key, size in (("packs/ab/small.pack", 5), ("packs/ab/large.pack", 6 * MIB)):
        store(target, key, bytes(size))
        found = client(s3_server.endpoint).head_object(Bucket=target.settings.bucket, Key=key)
        assert found.get("StorageClass") == "STANDARD_IA"
    target.close()


def test_tls_with_a_certificate_of_ones_own(s3_server: S3Server, scratch: Path) -> None:
    server = S3Server(scratch / "weed", tls=True)
    try:
        server.wait()
        chosen = settings(server, ca_file=str(server.ca_file), part_size=5 * MIB)
        target = S3Target.make(chosen, STORE)
        data = os.urandom(6 * MIB)
        store(target, "packs/ab/x.pack", data)
        assert bytes(target.get("packs/ab/x.pack", 0, len(data))) == data
        target.close()
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            S3Target(settings(server, bucket=chosen.bucket, attempts=1), "s3", STORE)
    finally:
        server.stop()


def test_more_threads_than_connections(s3_server: S3Server) -> None:
    target = S3Target.make(settings(s3_server, connections=2), STORE)
    store(target, "packs/ab/x.pack", os.urandom(MIB))
    with ThreadPoolExecutor(12) as pool:
        sizes = pool.map(lambda _: len(bytes(target.get("packs/ab/x.pack", 0, MIB))), range(48))
        assert list(sizes) == [MIB] * 48
    target.close()


def test_each_test_has_a_bucket_of_its_own(s3_server: S3Server) -> None:
    assert new_bucket(s3_server) != new_bucket(s3_server)
