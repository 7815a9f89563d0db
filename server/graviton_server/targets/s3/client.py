"""The one boto3 client of a target: made once, shared by all threads, every request it sends counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import create_loader

from graviton_server.targets.s3.settings import S3Settings

KINDS: Final = {
    "PutObject": "put",
    "UploadPart": "part",
    "CreateMultipartUpload": "multipart",
    "CompleteMultipartUpload": "multipart",
    "AbortMultipartUpload": "multipart",
    "ListMultipartUploads": "list",
    "ListObjectsV2": "list",
    "GetObject": "get",
    "HeadObject": "head",
    "DeleteObject": "delete",
}


_LOADER: Final = create_loader()
"""Keeps the descriptions of the service, which take long to read."""


class RequestCounter:
    """Requests by kind, retries included, since the target was opened. ``_lock`` guards ``_counts``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def sent(self, event_name: str, **_: object) -> None:
        """An event of botocore, ``before-send.s3.<operation>``."""
        operation = event_name.rsplit(".", 1)[-1]
        with self._lock:
            self._counts[KINDS.get(operation, "other")] += 1

    def counts(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._counts)


def make_client(settings: S3Settings, counter: RequestCounter) -> Any:
    """Retries (throttling, 5xx, cut connections) are botocore's standard mode: exponential, with jitter.

    Its automatic checksums are off, because S3-compatible stores trip over them: the target sends one of
    its own with every part. Payloads are not hashed once more for the signature.
    """
    session = botocore.session.Session(profile=settings.profile)
    session.register_component("data_loader", _LOADER)
    client = boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region_name,
        verify=settings.ca_file,
        config=Config(
            max_pool_connections=settings.connections,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
            s3={"addressing_style": settings.addressing, "payload_signing_enabled": False},
        ),
    )
    client.meta.events.register("before-send.s3", counter.sent)
    return client
