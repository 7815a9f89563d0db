"""Files that become visible whole or not at all."""

from __future__ import annotations

from types import TracebackType

from typing_extensions import Buffer

from gravitonfs.content.ingest import Ingest
from gravitonfs.content.stream import Stream
from gravitonfs.core.hashing import EMPTY_DIGEST
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.errors import FileTooLarge, GravitonError, Internal, NoSpace, Unavailable
from gravitonfs.ports.ops import Attr, Create, Disclaim, Op, Publish, SetAttr, Write

_WAIT = 60.0
S_IFREG = 0o100000


class StagedFile:
    """A file without a name, until ``publish``. For one thread; a context manager that cleans up.

    The inode belongs to the session: a process that dies leaves nothing behind.
    """

    def __init__(self, ingest: Ingest, *, mode: int, uid: int, gid: int) -> None:
        self._ingest = ingest
        session = ingest.session
        create = Create(NO_INO, b"", session.new_ino(), S_IFREG | mode & 0o7777, uid, gid)
        attr = session.submit_for_attr(create)
        self.ino: Ino = attr.ino
        self._stream = Stream(ingest, attr.ino, 0, attr.version, whole=True)
        self._open = True

    @property
    def size(self) -> int:
        return self._stream.end

    def write(self, data: Buffer) -> None:
        """Add bytes at the end; they are copied. Waits while the budget of unstored bytes is used up."""
        if self._stream.error is not None:
            self._stream.flush()
        copy = data if isinstance(data, bytes) else bytes(data)
        if self._stream.end + len(copy) > self._ingest.format.max_file_size:
            raise FileTooLarge(f"files of this volume have at most {self._ingest.format.max_file_size} bytes")
        if not copy:
            return
        self._stream.append(copy, 0)
        if self._ingest.budget.exceeded():
            self._stream.push()
            if not self._ingest.budget.wait(_WAIT):
                self._stream.flush()

    def publish(
        self,
        parent: Ino,
        name: bytes,
        *,
        expect: tuple[int, int] | None = None,
        absent: bool = False,
        mtime_ns: int | None = None,
        durable: bool = True,
    ) -> Attr:
        """Give it the name, atomically, and wait until that is durable. See ``ops.Publish``."""
        self._seal()
        ops: list[Op] = [Publish(self.ino, parent, name, expect, absent)]
        attr = self._ingest.session.submit(tuple(ops), durable=False)[0]
        self._open = False
        if not isinstance(attr, Attr):
            raise Internal(f"Publish was answered with {attr!r}")
        if mtime_ns is not None:
            attr = self._ingest.session.submit_for_attr(SetAttr(attr.ino, mtime_ns=mtime_ns))
        if durable:
            self._ingest.session.commit()
        return attr

    def _seal(self) -> None:
        if self._stream.end:
            self._stream.flush(seal=True)
            return
        # Zero bytes are a content too: the empty blob.
        self._ingest.session.submit((Write(self.ino, (), 0, self._stream.version, EMPTY_DIGEST),))

    def abort(self) -> None:
        """Leave nothing behind. Idempotent."""
        if self._open:
            self._open = False
            self._stream.discard()
            try:
                self._ingest.session.submit((Disclaim((self.ino,)),))
            except (Unavailable, NoSpace):
                pass  # the session's end frees it

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.abort()
        except GravitonError:
            if error is None:
                raise
