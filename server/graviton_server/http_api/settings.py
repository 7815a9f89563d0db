"""What an operator chooses about the HTTP port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HttpSettings:
    """Times in seconds, sizes in bytes. ``default_volume``: where a request names none."""

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    private_key: Path | None = None
    client_authorities: Path | None = None
    request_timeout: float = 30.0
    max_request_size: int = 100_000_000
    max_blob_size: int = 100_000_000_000
    max_concurrent_uploads: int = 100
    correlation_header: str = "X-Request-ID"
    metrics: bool = True
    production: bool = False
    default_volume: str = "main"
    shared: bool = False
    """Other daemons serve the same volumes: parts of one upload may come through any of them."""
