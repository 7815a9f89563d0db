"""A volume's namespace with its snapshots and its trash in it: the ``Namespace`` port around one that has
only the present.

What is asked of the present passes straight through; ``.snapshots`` and ``.trash`` are found where the root
has no such name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from graviton_server.namespace.past import PastTree
from graviton_server.namespace.trash_tree import TrashTree
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.core.snapshots import DIRECTORY, PAST
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.core.trash import is_trash, trash_parted
from gravitonfs.ports.namespace import BlobRef, Change, ContentInfo, Entry, RegionMap, Room, VolumeUsage
from gravitonfs.ports.ops import Attr, Batch, Reply

if TYPE_CHECKING:
    from graviton_server.namespace.historic import HistoricStore
    from graviton_server.namespace.reading import SqlNamespace
    from graviton_server.namespace.sessions import Session


class BrowsableNamespace:
    """Obtained by attaching to a store."""

    def __init__(self, present: SqlNamespace, store: HistoricStore, session: Session) -> None:
        self._present = present
        self._past = PastTree(store, session, lambda: present.attr(present.root))
        self._trash = TrashTree(store, session, present, lambda: present.attr(present.root))
        self.inline = present.inline
        self.settles = present.settles
        self.volume = present.volume
        self.root = present.root
        self.format = present.format
        self.read_only = present.read_only

    @property
    def session(self) -> int:
        return self._present.session

    # --- what the past has no part in ----------------------------------------------------------------

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        return self._present.apply(batches, durable=durable)

    def grant(self, count: int) -> range:
        return self._present.grant(count)

    def grant_contents(self, count: int) -> range:
        return self._present.grant_contents(count)

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        return self._present.records(space, prefix)

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        return self._present.blob(digest, length)

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        return self._present.blobs(after, limit)

    def usage(self) -> VolumeUsage:
        return self._present.usage()

    def room(self, directory: Ino | None) -> Room | None:
        return None if directory is not None and directory >= PAST else self._present.room(directory)

    def watch(self, since: int) -> Iterator[Change]:
        return self._present.watch(since)

    def trusted_until(self) -> float:
        return self._present.trusted_until()

    def detach(self) -> None:
        self._present.detach()

    # --- names ---------------------------------------------------------------------------------------

    def _tree(self, ino: Ino) -> PastTree | TrashTree:
        return self._trash if is_trash(ino) else self._past

    def _live(self, ino: Ino) -> Ino:
        """What is in the trash is a live inode."""
        return trash_parted(ino)[1] if is_trash(ino) else ino

    def _hidden(self, name: bytes) -> PastTree | TrashTree | None:
        if name == TRASH:
            return self._trash
        return self._past if name == DIRECTORY else None

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        if parent >= PAST:
            return self._tree(parent).lookup(parent, name)
        found = self._present.lookup(parent, name)
        if found is None and parent == self.root:
            hidden = self._hidden(name)
            return None if hidden is None else hidden.directory()
        return found

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        if start is not None and start >= PAST:
            return self._tree(start).resolve(path, start)
        found = self._present.resolve(path, start)
        hidden = self._hidden(path[0]) if not found and path and start in (None, self.root) else None
        if hidden is not None:
            directory = hidden.directory()
            return [directory, *hidden.resolve(path[1:], directory.ino)]
        return found

    def attr(self, ino: Ino) -> Attr:
        return self._tree(ino).attr(ino) if ino >= PAST else self._present.attr(ino)

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        source = self._tree(parent) if parent >= PAST else self._present
        return source.entries(parent, after, limit)

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        return self._tree(ino).parent(ino) if ino >= PAST else self._present.parent(ino)

    def readlink(self, ino: Ino) -> bytes:
        ino = self._live(ino)
        return self._past.readlink(ino) if ino >= PAST else self._present.readlink(ino)

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        ino = self._live(ino)
        return self._past.xattr(ino, name) if ino >= PAST else self._present.xattr(ino, name)

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        ino = self._live(ino)
        return self._past.xattrs(ino) if ino >= PAST else self._present.xattrs(ino)

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        present = [ino for ino in inos if ino < PAST]
        found = self._present.xattrs_of(present, prefix)
        for ino in sorted(ino for ino in inos if ino >= PAST):
            found += [(ino, name, value) for name, value in self.xattrs(ino) if name.startswith(prefix)]
        return found

    # --- bytes ---------------------------------------------------------------------------------------

    def content(self, content: ContentId) -> ContentInfo:
        return self._past.content(content) if content >= PAST else self._present.content(content)

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        source = self._past if content >= PAST else self._present
        return source.extents(content, first, last)

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        """Nobody reads the past ahead."""
        return self._present.extents_of([content for content in contents if content < PAST])

    def has_content(self, content: ContentId) -> bool:
        return self._past.has_content(content) if content >= PAST else self._present.has_content(content)
