"""Putting objects: in one request, or in parts side by side, each with a checksum that the reply repeats."""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError

from graviton_server.targets.s3.bodies import Body, InMemory, crc32c, md5, taken
from graviton_server.targets.s3.faults import TRANSPORT, code_of, translated
from graviton_server.targets.s3.settings import S3Settings
from gravitonfs.errors import Damaged, GravitonError, Invalid, NotFound, Unavailable

_log = logging.getLogger(__name__)

_THREADS: Final = 8
_AGAIN: Final = 2


_UNKNOWN: Final = {"NotImplemented", "XNotImplemented", "InvalidRequest", "InvalidArgument"}


class _NoChecksum(Exception):
    """The store does not know CRC-32C: it refuses it, or its reply does not repeat it."""


class PartMemory:
    """A budget of bytes in flight. ``_lock`` (a condition) guards ``_used``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Condition()
        self._used = 0

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        self.take(size)
        try:
            yield
        finally:
            self.give(size)

    def take(self, size: int) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._used == 0 or self._used + size <= self._limit)
            self._used += size

    def give(self, size: int) -> None:
        with self._lock:
            self._used -= size
            self._lock.notify_all()


class Uploads:
    """Thread-safe. ``_md5`` only ever turns true: then parts carry Content-MD5 instead of CRC-32C."""

    def __init__(self, client: Any, settings: S3Settings) -> None:
        self._client = client
        self._settings = settings
        self._options = settings.object_options
        self._memory = PartMemory(settings.upload_memory)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3-part")
        self._md5 = False

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        size = self._settings.part_size
        if length > self._settings.max_object:
            raise Invalid(
                f"an object of {length} bytes is more than part-size times max-parts,"
                f" {self._settings.max_object}"
            )
        start = body.tell() if body.seekable() else None
        try:
            (self._whole if length <= size else self._in_parts)(key, body, length)
        except _NoChecksum:
            _log.info("the store of %s answers without CRC-32C: using Content-MD5", self._settings.bucket)
            self._md5 = True
            if start is None:
                raise Unavailable(f"{key} must be sent again, with another checksum") from None
            body.seek(start)
            (self._whole if length <= size else self._in_parts)(key, body, length)

    # --- one request ---

    def _whole(self, key: str, body: BinaryIO, length: int) -> None:
        with self._memory.hold(_copied(body, length)):
            data = taken(body, length)
            if body.read(1):
                raise Invalid(f"an object has more than the {length} bytes declared")
            self._sent(f"storing {key}", "put_object", data, Key=key, **self._options)

    def _sent(self, what: str, call: str, data: Sequence[memoryview], **options: Any) -> dict[str, Any]:
        """Send with a checksum and compare the reply's. Bytes spoilt on the way are sent once more."""
        checksum = self._checksum(data)
        for attempt in range(_AGAIN):
            try:
                reply = self._call(what, call, Body=Body(data), **checksum, **options)
                return self._compare(what, checksum, reply)
            except Damaged:
                if attempt == _AGAIN - 1:
                    raise
        raise AssertionError("unreachable")

    def _call(self, what: str, call: str, **options: Any) -> dict[str, Any]:
        with translated(what):
            try:
                reply: dict[str, Any] = getattr(self._client, call)(Bucket=self._settings.bucket, **options)
                return reply
            except ClientError as error:
                if not self._md5 and code_of(error) in _UNKNOWN:
                    raise _NoChecksum from error
                raise

    def _checksum(self, data: Sequence[memoryview]) -> dict[str, str]:
        return {"ContentMD5": md5(data)} if self._md5 else {"ChecksumCRC32C": crc32c(data)}

    def _compare(self, what: str, sent: dict[str, str], reply: dict[str, Any]) -> dict[str, Any]:
        crc = reply.get("ChecksumCRC32C")
        if "ContentMD5" not in sent:
            if crc is None:
                raise _NoChecksum
            good = crc == sent["ChecksumCRC32C"]
        else:
            etag = str(reply.get("ETag", "")).strip('"')
            plain = len(etag) == 32 and not str(self._settings.sse).startswith("aws:kms")
            good = not plain or etag == base64.b64decode(sent["ContentMD5"]).hex()
        if not good:
            raise Damaged(f"{what}: the store has got other bytes than were sent")
        return {"ETag": reply["ETag"]} | ({"ChecksumCRC32C": crc} if crc else {})

    # --- parts ---

    def _in_parts(self, key: str, body: BinaryIO, length: int) -> None:
        algorithm = {} if self._md5 else {"ChecksumAlgorithm": "CRC32C"}
        begun = self._call(f"storing {key}", "create_multipart_upload", Key=key, **algorithm, **self._options)
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        try:
            parts = self._send_parts(upload, body, length)
            self._complete(upload, parts, length)
        except BaseException:
            self.abort(**upload)
            raise

    def _send_parts(self, upload: dict[str, str], body: BinaryIO, length: int) -> list[dict[str, Any]]:
        size = self._settings.part_size
        pending: deque[Future[dict[str, Any]]] = deque()
        done: list[dict[str, Any]] = []
        try:
            for number, start in enumerate(range(0, length, size), 1):
                count = min(size, length - start)
                copied = _copied(body, count)
                self._memory.take(copied)
                try:
                    data = taken(body, count)
                    if start + count == length and body.read(1):
                        raise Invalid(f"an object has more than the {length} bytes declared")
                    pending.append(self._threads.submit(self._send_part, upload, number, data, copied))
                except BaseException:
                    self._memory.give(copied)
                    raise
                del data
                while pending and pending[0].done():
                    done.append(pending.popleft().result())
            while pending:
                done.append(pending.popleft().result())
        finally:
            for one in pending:  # something failed: wait, so that nothing comes after the abort
                with contextlib.suppress(Exception):
                    one.result()
        return done

    def _send_part(
        self, upload: dict[str, str], number: int, data: Sequence[memoryview], copied: int
    ) -> dict[str, Any]:
        try:
            what = f"storing part {number} of {upload['Key']}"
            return self._sent(what, "upload_part", data, PartNumber=number, **upload) | {"PartNumber": number}
        finally:
            self._memory.give(copied)

    def _complete(self, upload: dict[str, str], parts: list[dict[str, Any]], length: int) -> None:
        what = f"completing {upload['Key']}"
        with translated(what):
            try:
                self._client.complete_multipart_upload(
                    Bucket=self._settings.bucket, MultipartUpload={"Parts": parts}, **upload
                )
            except ClientError as error:
                # A completion whose answer was lost, repeated, finds no such upload.
                if code_of(error) != "NoSuchUpload" or not self._is_there(upload["Key"], length):
                    raise

    def _is_there(self, key: str, length: int) -> bool:
        try:
            with translated(key):
                found = self._client.head_object(Bucket=self._settings.bucket, Key=key)
        except NotFound:
            return False
        return bool(found["ContentLength"] == length)

    def abort(self, Key: str, UploadId: str) -> None:  # named as the SDK's
        """Give up an upload. What does not work now is swept up later."""
        try:
            self._client.abort_multipart_upload(Bucket=self._settings.bucket, Key=Key, UploadId=UploadId)
        except (ClientError, *TRANSPORT, GravitonError) as error:
            _log.info("an upload of %s stays unfinished: %s", Key, error)


def _copied(body: BinaryIO, length: int) -> int:
    """What it takes of the budget: nothing, where it is kept anyway."""
    return 0 if isinstance(body, InMemory) else length
