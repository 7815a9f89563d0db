"""Inodes, names, contents: everything but the bytes."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from gravitonfs.core.extents import Extent
from gravitonfs.core.format import VolumeFormat
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.ports.ops import Attr, Batch, Reply


class ContentKind(enum.IntEnum):
    DRAFT = 0
    FROZEN = 1
    SEALED = 2


class ContentInfo(NamedTuple):
    """``digest`` only of sealed contents."""

    id: ContentId
    kind: ContentKind
    length: int
    version: int
    digest: bytes | None


class Entry(NamedTuple):
    """A name in a directory. ``digest``: of a sealed file's content, else None."""

    name: bytes
    attr: Attr
    digest: bytes | None


class BlobRef(NamedTuple):
    """A volume's reference to a blob: its digest and length, the content that has the bytes (0: empty)."""

    digest: bytes
    length: int
    content: ContentId
    created_ns: int


class RegionMap(NamedTuple):
    """One region of a content: extents sorted, disjoint, file offsets, no holes among them."""

    region: int
    extents: tuple[Extent, ...]


class Touched(enum.IntFlag):
    """What others must drop after a change."""

    ENTRY = 1
    ATTR = 2
    DATA = 4


class Change(NamedTuple):
    """``parent`` and ``name`` only with ENTRY; ``ino`` the inode meant, as far as it is known."""

    touched: Touched
    ino: Ino
    parent: Ino
    name: bytes


EVERYTHING = Change(Touched.ENTRY | Touched.ATTR | Touched.DATA, Ino(0), Ino(0), b"")
"""Told when changes may have been missed, or when answers given before may no longer hold: drop all."""


class VolumeUsage(NamedTuple):
    """Of one volume. ``logical_bytes``: the sum of the sizes of its files, each inode once."""

    logical_bytes: int
    inodes: int


class Room(NamedTuple):
    """What quotas leave: of bytes and of inodes each that one which leaves the least. None: no limit."""

    used_bytes: int
    free_bytes: int | None
    used_inodes: int
    free_inodes: int | None


EXTENTS_OF_MAX = 1000
SMALL_CONTENT = 1 << 20
"""Bytes of a content whose map ``Namespace.extents_of`` tells."""

Listener = Callable[[Sequence[Change]], None]
"""Called with what *other* sessions changed, before their call returns, on their thread, no lock held."""
Claims = Callable[[Ino], bool]
"""Asked with the namespace's lock held: does this session have the inode open? Must not block."""
Recall = Callable[[], None]
"""Called when another session asks to be let in, on a thread of the store's, no lock held. When it returns,
nothing answered under the lease is used any more, by the kernel neither; the other session is let in then, or
at the lease's end. ``trusted_until`` is 0.0 before it is called."""


class Namespace(Protocol):
    """A volume, as one session sees it; obtained by attaching. Thread-safe.

    What ``apply`` has answered is visible to every later call of any session of the store.
    """

    inline: bool
    """Calls take microseconds and wait for nothing but the disk: an event loop may make them itself."""
    settles: bool
    """After an ``apply`` that gave up, its numbers may be used for something else. Otherwise the caller has
    to make that call again as it was: it may have been applied, or may yet be."""
    volume: str
    root: Ino
    format: VolumeFormat
    read_only: bool

    @property
    def session(self) -> int:
        """Another number after a remote session was fenced and a new one took over."""

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        """Apply each batch, atomically and in order. A repeated number returns its recorded answer.

        ``durable`` waits until all of them, and whatever was applied before, survive power loss;
        with an empty batch that is all it does. A batch that fails is answered with a Failure, uses
        its number, and stops none of those behind it. Refusals raise, use no number and leave that
        batch and those behind it unapplied: MissingBlocks, Gap, Fenced, Unavailable, and NoSpace
        where the database has no room. A durable call whose commit fails is refused whole.
        """

    def grant(self, count: int) -> range:
        """Fresh inode numbers, never given twice, not even after a crash."""

    def grant_contents(self, count: int) -> range:
        """The same of content ids (``Write.content``)."""

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        """NotADirectory where the parent is none, NotFound (or Stale) where it is gone."""

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        """The attributes of each step of a path, without following symlinks.

        Shorter than ``path`` where a name does not exist or is no directory.
        """

    def attr(self, ino: Ino) -> Attr:
        """Stale when the inode is gone."""

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        """Names behind ``after`` in byte order, with attributes; fewer than ``limit`` at the end only."""

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        """One (parent, name) of an inode; None for the root and for inodes without a name."""

    def readlink(self, ino: Ino) -> bytes: ...

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        """NoAttribute."""

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        """All of an inode, names with values."""

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        """Those of up to 1,000 inodes whose names start with ``prefix``, in one query: inode, name, value."""

    def content(self, content: ContentId) -> ContentInfo: ...

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        """The regions [first, last] that have extents, with what shows through from bases.

        Stale when nothing uses the content any more: it may be half freed, and never reads as zeroes.
        """

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        """The whole maps of up to ``EXTENTS_OF_MAX`` small files' contents, in one query, for reading ahead.

        Only of contents that are immutable, have at most ``SMALL_CONTENT`` bytes and stand on nothing; the
        others, those no file of this volume has and what an answer has no room for are left out. What is
        answered may be kept: the content's bytes stay the same. Where a block of it is gone (re-chunked and
        collected since), ``extents`` tells the new map.
        """

    def has_content(self, content: ContentId) -> bool:
        """An inode or a blob of this volume has it now: for whoever answers others' questions."""

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Records by key (SetRecord)."""

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        """This volume's reference to a blob (AddBlobRef)."""

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        """Its references behind (digest, length), in that order; fewer than ``limit`` at the end only."""

    def usage(self) -> VolumeUsage: ...

    def room(self, directory: Ino | None) -> Room | None:
        """What the quotas that count a directory leave for what comes into it; None where there are none.
        ``directory`` None: the least that any quota of the volume leaves, so that whatever is less is taken
        anywhere, as long as nobody else changes anything."""

    def watch(self, since: int) -> Iterator[Change]:
        """What other sessions changed after version ``since``; ends when there is no more now.

        Sessions in one process are told through their Listener instead.
        """

    def trusted_until(self) -> float:
        """``time.monotonic()`` until which this session is the only one of its volume: what it was told
        before stays true but for its own changes and those told to its listener. 0.0: it is not, nothing may
        be kept. Never blocks, no I/O. Only of sessions attached with a ``Recall``.

        What was asked while it was 0.0 is not kept, though it be answered later. Between two times of
        trust either the recall has been called or the listener has been told EVERYTHING.
        """

    def detach(self) -> None:
        """End the session: its claims are dropped. Idempotent."""
