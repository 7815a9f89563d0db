"""Files and blobs that become visible whole or not at all."""

from __future__ import annotations

from types import TracebackType

from msgspec import structs
from typing_extensions import Buffer

from gravitonfs.content.ingest import Ingest, OpsOfExtents, Piece
from gravitonfs.content.stream import Stream
from gravitonfs.core.extents import Extent
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import NO_INO, Ino
from gravitonfs.errors import Exists, FileTooLarge, GravitonError, Internal, NoSpace, Unavailable
from gravitonfs.ports.ops import Attr, Create, Disclaim, Op, Publish, Result, SetAttr, Truncate, Write

_WAIT = 60.0
S_IFREG = 0o100000


class StagedFile:
    """A file without a name, until ``publish``. For one thread; a context manager that cleans up.

    The inode belongs to the session: a process that dies leaves nothing behind. A file of one block
    waits in memory and is made, written, sealed and named in one batch.
    """

    def __init__(self, ingest: Ingest, *, mode: int, uid: int, gid: int) -> None:
        self._ingest = ingest
        self.ino: Ino = ingest.session.new_ino()
        self._create = Create(NO_INO, b"", self.ino, S_IFREG | mode & 0o7777, uid, gid)
        self._small: list[bytes] = []
        self._size = 0
        self._stream: Stream | None = None
        self._open = True
        self._ends_in_hole = False
        self.digest: bytes | None = None
        """Of all bytes, once published; None where that was left to the namespace to tell."""
        self.new_bytes = 0
        """Once published: how many of the bytes the store did not have."""

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: Buffer) -> None:
        """Add bytes at the end; they are copied. Waits while the budget of unstored bytes is used up."""
        stream = self._stream
        if stream is not None and stream.error is not None:
            stream.flush()
        copy = data if isinstance(data, bytes) else bytes(data)
        size = self._grown(len(copy))
        if not copy:
            return
        self._size = size
        if stream is None and size <= self._ingest.format.block_min:
            self._small.append(copy)
            return
        if stream is None:
            stream = self._begin()
        stream.append(copy, 0)
        self._ends_in_hole = False
        if self._ingest.budget.exceeded():
            stream.push()
            if not self._ingest.budget.wait(_WAIT):
                stream.flush()

    def skip(self, length: int) -> None:
        """A hole: zeroes that take no room. The digest of such a file is left to the background."""
        size = self._grown(length)
        if not length:
            return
        stream = self._stream or self._begin()
        stream.flush()
        self._size = size
        self._stream = Stream(self._ingest, self.ino, size, stream.version, whole=False)
        self._ends_in_hole = True

    def _grown(self, count: int) -> int:
        size = self._size + count
        if size > self._ingest.format.max_file_size:
            raise FileTooLarge(f"files of this volume have at most {self._ingest.format.max_file_size} bytes")
        return size

    def _begin(self) -> Stream:
        """More than one block: the bytes flow into the store from now on."""
        attr = self._ingest.session.submit_for_attr(self._create)
        self._stream = Stream(self._ingest, attr.ino, 0, attr.version, whole=True)
        for part in self._small:
            self._stream.append(part, 0)
        self._small.clear()
        return self._stream

    def publish(
        self,
        parent: Ino,
        name: bytes,
        *,
        expect: tuple[int, int] | None = None,
        absent: bool = False,
        mtime_ns: int | None = None,
        durable: bool = True,
        new: bool = False,
    ) -> Attr:
        """Give it the name, atomically, and wait until that is durable. See ``ops.Publish``.

        ``new``: the caller has just seen that nothing has the name, so a small file is tried as a
        plain creation first, which costs the namespace less.
        """
        dated = () if mtime_ns is None else (SetAttr(self.ino, mtime_ns=mtime_ns),)
        publish = Publish(self.ino, parent, name, expect, absent)
        if self._stream is not None:
            self._stream.flush(seal=True)
            sized = (Truncate(self.ino, self._size),) if self._ends_in_hole else ()
            attr = self._ingest.session.submit((*sized, *dated, publish), durable=durable)[-1]
            self.new_bytes = self._stream.new_bytes
        else:
            attr = self._publish_small(publish, dated, durable=durable, new=new and expect is None)
        self._open = False
        if not isinstance(attr, Attr):
            raise Internal(f"Publish was answered with {attr!r}")
        return attr

    def _publish_small(
        self, publish: Publish, dated: tuple[SetAttr, ...], *, durable: bool, new: bool
    ) -> Result:
        data, digest, pieces = self._gathered()

        def made(create: Create, extents: tuple[Extent, ...]) -> tuple[Op, ...]:
            written = (Write(self.ino, extents, len(data), 0, digest),) if extents else ()
            return (create, *written, *dated)

        def created(extents: tuple[Extent, ...]) -> tuple[Op, ...]:
            return made(structs.replace(self._create, parent=publish.parent, name=publish.name), extents)

        def published(extents: tuple[Extent, ...]) -> tuple[Op, ...]:
            return (*made(self._create, extents), publish)

        self.digest = digest
        if new:
            try:
                return self._commit(pieces, created, durable=durable)[-1]
            except Exists:
                pass  # somebody has been faster: the name is taken over, or the caller's condition fails
        return self._commit(pieces, published, durable=durable)[-1]

    def keep(self, *ops: Op) -> None:
        """In place of ``publish``: the ops, which may refer to ``ino``, then the file goes. Durable."""
        gone = Disclaim((self.ino,))
        if self._stream is not None:
            self._stream.flush(seal=True)
            self._ingest.session.submit((*ops, gone), durable=True)
            self.new_bytes = self._stream.new_bytes
        else:
            data, digest, pieces = self._gathered()

            def kept(extents: tuple[Extent, ...]) -> tuple[Op, ...]:
                written = (Write(self.ino, extents, len(data), 0, digest),) if extents else ()
                return (self._create, *written, *ops, gone)

            known = self._ingest.loose_among([piece.id for piece in pieces])
            self._commit(pieces, kept, durable=True)
            self.new_bytes = max(0, self.new_bytes - known)
        self._open = False

    def _gathered(self) -> tuple[bytes, bytes | None, list[Piece]]:
        """A small file's bytes, their digest (None: there are none), and their one block."""
        data = b"".join(self._small)
        hasher = content_hasher()
        hasher.update(data)
        digest = hasher.digest() if data else None
        return data, digest, self._ingest.hash_pieces(0, memoryview(data), [len(data)] if data else [])

    def _commit(self, pieces: list[Piece], ops: OpsOfExtents, *, durable: bool) -> tuple[Result, ...]:
        results, self.new_bytes = self._ingest.commit_counted(pieces, ops, durable=durable)
        return results

    def abort(self) -> None:
        """Leave nothing behind. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._small.clear()
        if self._stream is not None:
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
