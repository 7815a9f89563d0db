"""What an operator chooses about the gRPC port."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gravitonfs.content.pool import IDLE
from gravitonfs.errors import Invalid

MIB: Final = 1 << 20


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. With ``client_ca_file`` only clients with a certificate of that authority get in.

    Files are read again when they change.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None


@dataclass(frozen=True)
class GrpcSettings:
    """Times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: int = 50051
    """0: a free one."""
    socket: Path | None = None
    """Of the file system, in place of host and port: whoever may reach it is let in as that port would."""
    tls: TlsFiles | None = None
    max_message_size: int = 100_000_000
    keepalive_time: float = 30.0
    max_connection_age: float = 600.0
    """After this time a connection is closed gracefully, so that clients spread over added daemons."""
    connection_age_grace: float = 60.0
    request_timeout: float = 30.0
    """Bounds unary calls, and the wait for a stream's next message."""
    max_concurrent_uploads: int = 100
    max_blob_size: int = 100_000_000_000
    max_calls: int = 512
    """At the same time; each watching session is one."""
    lease: float = 60.0
    """A session that is not heard of for so long has ended."""
    idle_volume: float = IDLE
    """The API's own session on a volume ends when nobody has used it for so long."""
    stop_grace: float = 10.0
    """How long calls may go on when the server stops."""
    correlation_header: str = "X-Request-ID"
    """The metadata that carries a call's id in and out."""
    reveal_internals: bool = True
    """Whether unexpected errors are described to clients."""

    def check(self) -> None:
        if self.max_message_size < 2 * MIB:
            raise Invalid("max-message-size must be 2 MiB or more: a block has up to 1 MiB")
        for name in ("keepalive_time", "max_connection_age", "request_timeout", "lease"):
            if getattr(self, name) <= 0:
                raise Invalid(f"{name.replace('_', '-')} must be more than 0")

    @property
    def address(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def reply_limit(self) -> int:
        """Bytes of an answer: clients in other languages receive 4 MiB unless they ask for more."""
        return self.reply_limit_of(0)

    def reply_limit_of(self, room: int) -> int:
        """Where the client says how much it takes."""
        return min(self.max_message_size, 16 * MIB, max(room, 4 * MIB)) - 64 * 1024
