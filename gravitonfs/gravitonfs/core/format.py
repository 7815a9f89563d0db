"""A volume's format: what was chosen when it was made and can never change after."""

from __future__ import annotations

import msgspec

from gravitonfs.core.releases import Format, newer
from gravitonfs.errors import FormatError, Invalid

FORMAT_VERSION = 1
KIB = 1024
MIB = 1024 * KIB


class VolumeFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters that decide block boundaries and ids. Sizes in bytes.

    ``block_key`` is reserved for encryption: 32 bytes, or empty for plain BLAKE3.
    """

    version: int = FORMAT_VERSION
    chunker: str = "fastcdc-2020"
    block_min: int = 64 * KIB
    block_average: int = 256 * KIB
    block_max: int = 1 * MIB
    normalization: int = 1
    hash: str = "blake3-256"
    block_key: bytes = b""
    compression: str = "zstd"
    compression_level: int = 1
    max_file_size: int = 1 << 44

    def check(self) -> None:
        """Raise :class:`FormatError` when this version cannot open a volume of this format."""
        if self.version > FORMAT_VERSION:
            raise newer("the volume", Format.VOLUME, self.version)
        if (self.chunker, self.hash, self.compression) != ("fastcdc-2020", "blake3-256", "zstd"):
            raise FormatError(
                f"the volume uses {self.chunker}, {self.hash} and {self.compression},"
                " which this version does not know"
            )
        if not 64 <= self.block_min <= self.block_average <= self.block_max <= MIB:
            raise Invalid("block sizes must be 64 <= min <= average <= max <= 1 MiB")

    def at_most(self, size: int | None) -> VolumeFormat:
        """For files no larger than ``size`` either."""
        if size is None or size >= self.max_file_size:
            return self
        return msgspec.structs.replace(self, max_file_size=size)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> VolumeFormat:
        try:
            result = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise FormatError(f"the volume's format cannot be read: {error}") from error
        result.check()
        return result
