"""Blobs over a volume: written front to back, verified, kept by a reference of the volume."""

from __future__ import annotations

import stat
from types import TracebackType
from typing import NamedTuple

from typing_extensions import Buffer

from gravitonfs.content.reader import ContentReader
from gravitonfs.content.volume import Volume
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import NO_INO, BlobId
from gravitonfs.errors import Invalid, NotFound
from gravitonfs.ports.ops import AddBlobRef, Attr


class StoredBlob(NamedTuple):
    """``new_bytes``: plain bytes of blocks that were not stored before; ``existed``: as a blob."""

    id: BlobId
    new_bytes: int
    existed: bool


class BlobWriter:
    """One upload. For one thread; a context manager that leaves nothing behind unless ``finish`` returned."""

    def __init__(self, volume: Volume, length: int | None = None, digest: bytes | None = None) -> None:
        """``length``, ``digest``: what is expected; anything else fails the upload with Invalid."""
        self._volume = volume
        self._length = length
        self._digest = digest
        self._hasher = content_hasher()
        self._staged = volume.stage(mode=0o600, uid=0, gid=0)

    @property
    def size(self) -> int:
        return self._staged.size

    def write(self, data: Buffer) -> None:
        self._hasher.update(data)
        self._staged.write(data)
        if self._length is not None and self.size > self._length:
            raise Invalid(f"more bytes came than the {self._length} that were announced")

    def finish(self) -> StoredBlob:
        """The blob is there, durable."""
        if self._length is not None and self.size != self._length:
            raise Invalid(f"{self.size} bytes came, and {self._length} were announced")
        blob = BlobId(self._hasher.digest(), self.size)
        if self._digest is not None and self._digest != blob.digest:
            raise Invalid(f"the bytes that came are {blob}, and another digest was announced")
        existed = self._volume.namespace.blob(*blob) is not None
        if existed:
            self._volume.commit()
        else:
            self._staged.keep(AddBlobRef(self._staged.ino, *blob))
        self._staged.abort()
        return StoredBlob(blob, self._staged.new_bytes, existed)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._staged.__exit__(kind, error, trace)


def open_blob(volume: Volume, blob: BlobId) -> ContentReader:
    """Raises NotFound where the volume has no reference to it."""
    found = volume.namespace.blob(*blob)
    if found is None:
        raise NotFound(f"there is no blob {blob} in volume {volume.namespace.volume!r}")
    return volume.reader(Attr(NO_INO, stat.S_IFREG, 0, 0, 0, 0, found.length, 0, 0, 0, 0, found.content, 0))
