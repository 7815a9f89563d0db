"""The byte rates of this port, which it shares with other front ends."""

from __future__ import annotations

from graviton_server.limits import ByteRate


class Rates:
    """Bytes are waited for; ``Throttled`` where the wait would pass ``patience`` seconds."""

    def __init__(self, inbound: ByteRate | None, outbound: ByteRate | None, patience: float) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._patience = patience

    def received(self, count: int) -> None:
        if self._inbound is not None:
            self._inbound.pace(count, self._patience)

    def sent(self, count: int) -> None:
        if self._outbound is not None:
            self._outbound.pace(count, self._patience)
