"""A bucket as a target."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError
from typing_extensions import Buffer

from graviton_server.targets.identity import STORE_KEY, check_key, check_store, encode_store, is_key
from graviton_server.targets.s3.client import RequestCounter, make_client
from graviton_server.targets.s3.faults import TRANSPORT, code_of, status_of, translate, translated
from graviton_server.targets.s3.settings import S3Settings
from graviton_server.targets.s3.uploads import Uploads
from gravitonfs.errors import FormatError, NotFound
from gravitonfs.ports.target import ObjectInfo, Space

_log = logging.getLogger(__name__)

STALE_UPLOAD: Final = timedelta(days=1)
"""No upload takes so long: older ones are left over from processes that died."""
_BACKOFF: Final = 0.1
_BACKOFF_MAX: Final = 5.0


class S3Target:
    """A ``Target``. Thread-safe: one client serves all threads.

    What a request cannot do within its attempts is ``Unavailable``; refused credentials are
    ``AccessDenied``. The store keeps its own copies, so ``space`` is not known.
    """

    def __init__(
        self, settings: S3Settings, name: str, store_uuid: bytes | None, *, create: bool = False
    ) -> None:
        """Open a target, without ``store_uuid`` whosever it is; ``create``: a bucket without a store becomes
        one. Raises ``NotFound``, ``FormatError``, ``AccessDenied``, ``Unavailable``."""
        self.name = name
        self.settings = settings
        self._counter = RequestCounter()
        self._client = make_client(settings, self._counter)
        self._uploads = Uploads(self._client, settings)
        self._bucket = settings.bucket
        self.max_object = settings.max_object
        try:
            self.store_uuid = self._open(store_uuid, create)
        except BaseException:
            self.close()
            raise

    @classmethod
    def make(cls, settings: S3Settings, store_uuid: bytes, name: str = "s3") -> S3Target:
        """Make the bucket, which exists, a target of this store; one that is already is opened."""
        return cls(settings, name, store_uuid, create=True)

    def _open(self, store_uuid: bytes | None, create: bool) -> bytes:
        try:
            return self._check_store(store_uuid)
        except NotFound:
            if not create or store_uuid is None:
                raise
            if next(self.list("packs/"), None) is not None:
                raise FormatError(
                    f"the bucket {self._bucket} has packs, but no object that says whose:"
                    f" put its {STORE_KEY!r} object back"
                ) from None
            body = encode_store(store_uuid)
            self._uploads.put(STORE_KEY, BytesIO(body), len(body))
            return self._check_store(store_uuid)  # somebody may have been faster

    def _check_store(self, store_uuid: bytes | None) -> bytes:
        place = f"s3://{self._bucket}"
        try:
            found = self._get(STORE_KEY, "bytes=0-4095")
        except NotFound as error:
            raise NotFound(f"{place} is no target of a store: it has no object {STORE_KEY!r}") from error
        return check_store(found, store_uuid, place)

    # --- objects ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        check_key(key)
        self._uploads.put(key, body, length)

    def get(self, key: str, start: int, length: int) -> Buffer:
        check_key(key)
        if length <= 0:
            return b""
        return self._get(key, f"bytes={start}-{start + length - 1}")

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        if len(ranges) == 1:
            return [self.get(key, *ranges[0])]
        first = ranges[0][0]
        span = memoryview(self.get(key, first, ranges[-1][0] + ranges[-1][1] - first))
        return [span[start - first : start - first + length] for start, length in ranges]

    def _get(self, key: str, wanted: str) -> bytes:
        """One request; repeated where the connection is cut in the middle of the body."""
        what = f"reading {key}"
        for attempt in range(self.settings.attempts):
            try:
                reply = self._client.get_object(Bucket=self._bucket, Key=key, Range=wanted)
                data = reply["Body"].read()
                if len(data) == reply["ContentLength"]:
                    return bytes(data)
                trouble: Exception = ConnectionError("the answer ended early")
            except ClientError as error:
                if status_of(error) == 416 or code_of(error) == "InvalidRange":
                    return b""  # behind the end
                raise translate(error, what) from error
            except TRANSPORT as error:
                trouble = error
            if attempt < self.settings.attempts - 1:
                _pause(attempt)
        raise translate(trouble, what) from trouble

    def head(self, key: str) -> ObjectInfo:
        check_key(key)
        with translated(f"looking at {key}"):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        return ObjectInfo(key, found["ContentLength"])

    def delete(self, key: str) -> None:
        check_key(key)
        with translated(f"deleting {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for page in self._pages("list_objects_v2", prefix):
            for item in page.get("Contents", ()):
                if is_key(item["Key"]):
                    yield ObjectInfo(item["Key"], item["Size"])

    def _pages(self, call: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages = iter(self._client.get_paginator(call).paginate(Bucket=self._bucket, Prefix=prefix))
        while True:
            with translated(f"listing {prefix or 'the bucket'}"):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def space(self) -> Space:
        return Space(0, 0)

    # --- upkeep ---

    def sweep_uploads(self, prefix: str = "packs/", older_than: timedelta = STALE_UPLOAD) -> int:
        """Abort uploads that a dead process has left under ``prefix``; how many."""
        horizon = datetime.now(UTC) - older_than
        count = 0
        for page in self._pages("list_multipart_uploads", prefix):
            for item in page.get("Uploads", ()):
                if item["Key"].startswith(prefix) and item["Initiated"] <= horizon:
                    self._uploads.abort(item["Key"], item["UploadId"])
                    count += 1
        if count:
            _log.info("%d abandoned uploads in s3://%s are removed", count, self._bucket)
        return count

    def requests(self) -> Mapping[str, int]:
        """Requests sent since this target was opened, by kind, repetitions included."""
        return self._counter.counts()

    def close(self) -> None:
        self._uploads.close()
        self._client.close()


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(_BACKOFF * 2**attempt, _BACKOFF_MAX)))
