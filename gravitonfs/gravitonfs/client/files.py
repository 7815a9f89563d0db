"""File objects over readers and staged files."""

from __future__ import annotations

import io
from types import TracebackType

from typing_extensions import Buffer

from gravitonfs.content.reader import ContentReader
from gravitonfs.content.stage import StagedFile
from gravitonfs.core.ids import Ino


class ReadFile(io.RawIOBase):
    """A file as it was when it was opened. For one thread."""

    def __init__(self, reader: ContentReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("the position would be before the start")
        self._at = start + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        stop = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if stop <= self._at:
            return b""
        data = b"".join(self._reader.stream(self._at, stop))
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(view.nbytes)
        view[: len(data)] = data
        return len(data)


class WriteFile(io.RawIOBase):
    """Becomes visible when it is closed; leaving its context with an exception leaves nothing."""

    def __init__(self, staged: StagedFile, parent: Ino, name: bytes, *, absent: bool) -> None:
        self._staged = staged
        self._parent = parent
        self._name = name
        self._absent = absent

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._staged.size

    def write(self, data: Buffer, /) -> int:
        self._staged.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Durable when this returns."""
        if not self.closed:
            super().close()
            with self._staged:  # what cannot get its name leaves nothing
                self._staged.publish(self._parent, self._name, absent=self._absent)

    def discard(self) -> None:
        """Leave nothing."""
        if not self.closed:
            super().close()
            self._staged.abort()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.discard()
        else:
            self.close()

    def __del__(self) -> None:
        """A file that was forgotten is not published: it may be half written."""
        try:
            self.discard()
        except Exception:  # noqa: BLE001  # the interpreter may be ending
            pass
