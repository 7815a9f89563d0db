"""Where a daemon is, and how to get in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from gravitonfs.errors import Invalid

PORT = 50051
SCHEMES = ("graviton", "gravitons")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%a-z]+\]|[^\[\]/:,]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class Endpoint:
    """One daemon, or several that serve the same store (tried in turn). Files are PEM.

    ``token_file`` is read again when it changes, so that tokens can be renewed under a mount.
    """

    addresses: tuple[str, ...]
    tls: bool = False
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.addresses:
            raise Invalid("the address of a daemon is missing")
        if (self.cert_file is None) != (self.key_file is None):
            raise Invalid("a client certificate needs both its cert-file and its key-file")
        if not self.tls and (self.ca_file or self.cert_file):
            raise Invalid("certificates are for gravitons:// addresses")

    @classmethod
    def parse(cls, url: str) -> tuple[Endpoint, str, str]:
        """Of ``graviton[s]://host[:port][,host[:port]...][/volume[/path]]``: where, volume, path.

        The volume is ``main`` where none is named. The token comes from ``GRAVITON_TOKEN``.
        """
        scheme, found, rest = url.partition("://")
        if not found or scheme not in SCHEMES:
            raise Invalid(f"{url!r} is no address; expected graviton://host:port/volume")
        where, _, inside = rest.partition("/")
        volume, _, path = inside.partition("/")
        addresses = tuple(_address(part, url) for part in where.split(","))
        endpoint = cls(addresses, tls=scheme == "gravitons", token=os.environ.get("GRAVITON_TOKEN"))
        return endpoint, unquote(volume) or "main", unquote(path)

    def with_options(
        self,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
    ) -> Endpoint:
        """What is not given stays."""
        return replace(
            self,
            token=token if token is not None else self.token,
            token_file=token_file or self.token_file,
            ca_file=ca_file or self.ca_file,
            cert_file=cert_file or self.cert_file,
            key_file=key_file or self.key_file,
        )

    def __str__(self) -> str:
        return f"{'gravitons' if self.tls else 'graviton'}://{','.join(self.addresses)}"


def _address(text: str, url: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or (match[2] is not None and not 0 < int(match[2]) < 65536):
        raise Invalid(f"{text!r} in {url!r} is no HOST:PORT")
    return f"{match[1]}:{match[2] or PORT}"
