"""Limits that the front ends of a daemon share."""

from __future__ import annotations

from graviton_server.config.sections import Config
from graviton_server.limits import ByteRate, UploadSlots


class SharedLimits:
    """``rate_in``, ``rate_out``: None where there is none."""

    def __init__(self, config: Config) -> None:
        limit = config.constraints.rate_limit
        self.slots = UploadSlots(config.constraints.max_concurrent_uploads)
        self.rate_in: ByteRate | None = None
        self.rate_out: ByteRate | None = None
        if limit.bytes_per_second is not None:
            burst = limit.burst_size or limit.bytes_per_second
            self.rate_in = ByteRate(limit.bytes_per_second, burst)
            self.rate_out = ByteRate(limit.bytes_per_second, burst)
