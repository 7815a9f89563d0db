"""How to reach a bucket, and how objects are put there."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import Final

from gravitonfs.core.units import format_size
from gravitonfs.errors import Invalid

_log = logging.getLogger(__name__)

MIB: Final = 1 << 20
PART_MIN: Final = 5 * MIB
"""AWS refuses smaller parts, the last one excepted."""
PARTS_MAX: Final = 10_000


def _endpoint() -> str | None:
    return os.environ.get("GRAVITON_S3_ENDPOINT") or None


@dataclass(frozen=True)
class S3Settings:
    """Checked when it is made: ``Invalid`` names what is wrong. Credentials come from the SDK's chain
    (environment, files, container or instance role), never from here."""

    bucket: str
    region: str | None = None
    """By default that of the environment (``AWS_REGION``, ``AWS_DEFAULT_REGION``), else us-east-1."""
    endpoint: str | None = field(default_factory=_endpoint)
    """Of an S3-compatible store; by default ``GRAVITON_S3_ENDPOINT``, else AWS."""
    path_style: bool | None = None
    """The bucket in the path instead of the host's name; by default where an endpoint is given."""
    sse: str | None = None
    """``AES256``, ``aws:kms``, or ``aws:kms:KEY``."""
    storage_class: str | None = None
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    profile: str | None = None
    """Of the SDK's files: whose credentials are used."""
    part_size: int = 16 * MIB
    max_parts: int = PARTS_MAX
    connections: int = 32
    """At least as many as threads that use the target at once."""
    upload_memory: int = 64 * MIB
    """Bytes of parts held in memory while they go up."""
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if not self.bucket:
            raise Invalid("no bucket is given: set storage.s3.bucket or GRAVITON_S3_BUCKET")
        if not 1 <= self.max_parts <= PARTS_MAX:
            raise Invalid(f"max-parts must be from 1 to {PARTS_MAX}, not {self.max_parts}")
        if self.sse and self.sse != "AES256" and not self.sse.startswith("aws:kms"):
            raise Invalid(f"sse must be AES256, aws:kms or aws:kms:KEY, not {self.sse}")
        if self.part_size < PART_MIN:
            _log.warning(
                "part-size %s is raised to %s: object stores refuse smaller parts",
                format_size(self.part_size),
                format_size(PART_MIN),
            )
            object.__setattr__(self, "part_size", PART_MIN)

    @property
    def max_object(self) -> int:
        """The largest object that can be put; packs stay below."""
        return self.part_size * self.max_parts

    @property
    def region_name(self) -> str:
        known = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return known or "us-east-1"

    @property
    def addressing(self) -> str:
        path_style = bool(self.endpoint) if self.path_style is None else self.path_style
        return "path" if path_style else "auto"

    @property
    def object_options(self) -> dict[str, str]:
        """What every new object is made with."""
        options = {}
        if self.storage_class:
            options["StorageClass"] = self.storage_class
        if self.sse:
            kind, _, key = self.sse.removeprefix("aws:").partition(":")
            options["ServerSideEncryption"] = "AES256" if kind == "AES256" else "aws:kms"
            if key:
                options["SSEKMSKeyId"] = key
        return options
