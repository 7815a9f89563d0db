"""The ``Namespace`` port with what is known already answered from memory, while the session is alone.

Under the volume's lease (``trusted_until``) an answer stays true but for the session's own changes, which are
followed exactly, and those told to its listener. Without it, everything is asked. With ``Answering`` changes
are answered from memory too; whatever is asked of the store then comes behind them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from gravitonfs.content.answering import Answering
from gravitonfs.content.fresh import Ticket
from gravitonfs.content.kept import Kept
from gravitonfs.content.known_names import UNKNOWN, Names, Unknown
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.content.own_changes import follow, touches
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import NO_INO, ContentId, Ino
from gravitonfs.errors import (
    Gap,
    GravitonError,
    Invalid,
    MissingBlocks,
    NoAttribute,
    NoSpace,
    ReadOnly,
    Stale,
)
from gravitonfs.ports.namespace import (
    BlobRef,
    Change,
    ContentInfo,
    ContentKind,
    Entry,
    Namespace,
    RegionMap,
    Room,
    VolumeUsage,
)
from gravitonfs.ports.ops import Attr, Batch, Create, Reply

T = TypeVar("T")

PAGE: Final = 1000
"""Names asked for at a time."""
_MISSES: Final = 2
"""So many unknown names of one directory, and the next ones are read along."""
_XATTR_MISSES: Final = 2
_DOUBLED: Final = 4
"""How often the number of pages that are read along doubles."""
_CONTENTS: Final = 4096
_REFUSALS: Final = (MissingBlocks, Gap, NoSpace, ReadOnly, Invalid)
"""Nothing of the batch that was refused has been applied, or will be."""


class NotAtHand(Exception):  # no error: the question has to be asked where it may wait
    """Only what is known was asked for, and this is not."""


class CachingNamespace:
    """Thread-safe. A read that is not answered from memory asks the store; ``apply`` always does. ``answer``
    and ``apply`` are called by one thread at a time.

    Entries from memory may lack the digest of a content that has been sealed in the background since.
    """

    inline = False

    def __init__(self, namespace: Namespace, cache: NamesCache, answering: Answering | None = None) -> None:
        self._namespace = namespace
        self.answering = answering
        self._behind = namespace if answering is None else answering.log
        self.settles = namespace.settles and answering is None
        self._counts = cache.counts
        self._known = cache.known
        self._lock = cache.lock
        self._fresh = cache.fresh
        self._peeking = 0
        self._durable_in = -1
        """The epoch of what is known, of the last durable call."""
        self.doubted: Callable[[], None] = lambda: None
        """Called when it is not known whether a change has happened, and when that is settled."""
        self.volume = namespace.volume
        self.root = namespace.root
        self.format = namespace.format
        self.read_only = namespace.read_only
        if answering is not None:
            cache.settle = answering.log.drain

    @property
    def session(self) -> int:
        return self._namespace.session

    def trusted_until(self) -> float:
        return self._namespace.trusted_until()

    @contextmanager
    def only_known(self) -> Iterator[None]:
        """In this thread, a read inside that is not answered from memory raises ``NotAtHand`` instead of
        waiting. For one thread, an event loop's; it must not wait inside for anything else either."""
        self._peeking = threading.get_ident()
        try:
            yield
        finally:
            self._peeking = 0

    @property
    def peeking(self) -> bool:
        """The calling thread is inside ``only_known``."""
        return self._peeking != 0 and self._peeking == threading.get_ident()

    def may_wait(self) -> None:
        """Before anything that takes longer than a moment: NotAtHand inside ``only_known``."""
        if self.peeking:
            raise NotAtHand

    # --- changes -------------------------------------------------------------------------------------

    def answer(self, batch: Batch, kept: Kept | None = None) -> Reply | None:
        """What the batch does, if that is known: the store applies it soon, and before anything that is asked
        of it. None: it has to be applied by the store (``apply``). ``kept``: the blocks in its packs."""
        answering = self.answering
        if answering is None or not self.trusted():
            return None
        if not answering.log.has_room:
            if self.peeking:
                return None
            answering.log.wait_for_room()
        with self._lock:
            return answering.answer(batch, kept) if self.trusted() else None

    def all_durable(self) -> bool:
        """There is nothing to wait for: nobody has changed anything since a durable call of ours."""
        return self.own_durable() and self._durable_in == self._known.epoch and self.trusted()

    def own_durable(self) -> bool:
        """This session has changed nothing since its last durable call; others may have."""
        return self.answering is not None and self.answering.log.all_durable

    def settle(self) -> None:
        """What was answered here is applied by the store when this returns."""
        if self.answering is not None:
            self.answering.log.drain()

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        answering = self.answering
        if answering is None:
            return self._apply(batches, durable)
        if self.trusted():
            answering.prepare(batches)
        replies = self._apply(batches, durable)
        answering.applied(batches, replies)
        self._learn_parents(batches)
        return replies

    def _apply(self, batches: Sequence[Batch], durable: bool) -> list[Reply]:
        with self._lock:
            ticket = self.mark()
            touched = touches(self._known, batches)
            self._fresh.begin(touched)
        replies: list[Reply] = []
        doubtful = False
        try:
            replies = self._behind.apply(batches, durable=durable)
            return replies
        except _REFUSALS:
            raise
        except BaseException:
            doubtful = bool(batches)
            raise
        finally:
            with self._lock:
                settled = self._fresh.doubtful and len(replies) == len(batches)
                if settled or len(replies) != len(batches) or not self._holds(ticket):
                    self._known.clear()  # what was refused may have been applied in part, or may yet be
                else:
                    for batch, reply in zip(batches, replies, strict=True):
                        follow(self._known, batch, reply)
                self._fresh.doubtful = doubtful or (self._fresh.doubtful and not settled)
                self._fresh.end(touched, replies)
                if durable and replies and ticket is not None:
                    self._durable_in = ticket.epoch
                self._known.trim()
            if doubtful or settled:
                self.doubted()

    def _learn_parents(self, batches: Sequence[Batch]) -> None:
        """Of directories that get new names, so that the next ones can be answered."""
        if not self.trusted():
            return
        parents = {op.parent for batch in batches for op in batch.ops if isinstance(op, Create) and op.parent}
        for parent in parents:
            try:
                if self._known.attr(parent) is None:
                    self.attr(parent)
                if self._known.xattrs_at(parent) is None:
                    self._all_xattrs(parent)
            except GravitonError:
                pass  # the next one is asked of the store again

    def grant(self, count: int) -> range:
        return self._namespace.grant(count)

    def grant_contents(self, count: int) -> range:
        return self._namespace.grant_contents(count)

    def detach(self) -> None:
        if self.answering is not None:
            self.answering.log.close()
        self._namespace.detach()

    # --- what is trusted -----------------------------------------------------------------------------

    def trusted(self) -> bool:
        """The session is alone now."""
        return time.monotonic() < self._namespace.trusted_until() and not self._fresh.doubtful

    def forget(self, ino: Ino) -> None:
        """What was told of it has turned out to be no longer so: it is asked for again."""
        with self._lock:
            self._known.drop(ino)

    def mark(self) -> Ticket | None:
        """Another one after every change; None while nothing that is asked may be kept. For those who keep
        answers themselves."""
        return self._fresh.ticket() if self.trusted() else None

    def _holds(self, ticket: Ticket | None) -> bool:
        return ticket is not None and ticket.epoch == self._known.epoch and self.trusted()

    def _ask(self, question: Callable[[], T], learn: Callable[[Ticket, T], None]) -> T:
        self.may_wait()
        self.settle()
        self._counts.misses += 1
        with self._lock:
            ticket = self.mark()
            self._fresh.asking += 1
        try:
            answer = question()
        except BaseException:
            with self._lock:
                self._fresh.asked()
            raise
        with self._lock:
            try:
                if ticket is not None and self._holds(ticket):
                    learn(ticket, answer)
                    self._known.trim()
            finally:
                self._fresh.asked()
        return answer

    # --- reads ---------------------------------------------------------------------------------------

    def lookup(self, parent: Ino, name: bytes) -> Attr | None:
        if self.trusted():
            found = self._known.lookup(parent, name)
            if found is UNKNOWN and self._reads_along(parent):
                found = self._known.lookup(parent, name)
            if found is not UNKNOWN:
                self._counts.hits += 1
                return found

        def learn(ticket: Ticket, attr: Attr | None) -> None:
            if attr is not None:
                self._learn_attr(ticket, attr)
            self._learn_name(ticket, parent, name, NO_INO if attr is None else attr.ino)

        return self._ask(lambda: self._namespace.lookup(parent, name), learn)

    def attr(self, ino: Ino) -> Attr:
        if self.trusted():
            found = self._known.attr(ino)
            if found is not None:
                self._counts.hits += 1
                return found
        return self._ask(lambda: self._namespace.attr(ino), self._learn_attr)

    def resolve(self, path: Sequence[bytes], start: Ino | None = None) -> list[Attr]:
        steps: list[Attr] = []
        at = self.root if start is None else start
        if self.trusted():
            for name in path:
                found = self._known.lookup(at, name)
                if found is None:
                    return steps
                if found is UNKNOWN:
                    break
                steps.append(found)
                at = found.ino
        if len(steps) == len(path):
            return steps

        def learn(ticket: Ticket, found: list[Attr]) -> None:
            above = self.root if start is None else start
            for name, attr in zip(path, found, strict=False):
                self._learn_attr(ticket, attr)
                self._learn_name(ticket, above, name, attr.ino)
                above = attr.ino

        return self._ask(lambda: self._namespace.resolve(path, start), learn)

    def entries(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        if self.trusted():
            with self._lock:
                page = self._known.page(parent, after, limit)
            if page is not UNKNOWN:
                self._counts.hits += 1
                return page
        return self._page(parent, after, limit)

    def _page(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry]:
        self.may_wait()
        names, losses = self._names_of(parent)

        def learn(ticket: Ticket, page: list[Entry]) -> None:
            if names is None or names.refused:
                return
            if self._fresh.undisturbed:
                self._known.set_page(parent, page)
            else:
                for name, attr, digest in page:
                    self._learn_attr(ticket, attr, digest)
                    self._learn_name(ticket, parent, name, attr.ino)
            if names.read_to == (after or b""):
                end = len(page) < limit
                self._known.read(names, page[-1].name if page else names.read_to, losses, end=end)

        return self._ask(lambda: self._namespace.entries(parent, after, limit), learn)

    def _names_of(self, parent: Ino) -> tuple[Names | None, int]:
        """Before a page is asked for, so that what happens to its names meanwhile is seen."""
        with self._lock:
            if not self.trusted():
                return None, 0
            names = self._known.names_of(parent)
            return names, names.losses

    def _reads_along(self, parent: Ino) -> bool:
        """Several names of one directory were asked for: get many at a time, more each time."""
        self.may_wait()
        names, _ = self._names_of(parent)
        if names is None or names.refused or names.reading or names.complete:
            return False
        names.misses += 1
        if names.misses < _MISSES:
            return False
        names.reading = True
        try:
            for _ in range(1 << min(names.misses - _MISSES, _DOUBLED)):
                if len(self._page(parent, names.read_to or None, PAGE)) < PAGE or names.refused:
                    break
        except GravitonError:
            return False  # whoever asks for the name itself is told
        finally:
            names.reading = False
        return True

    def parent(self, ino: Ino) -> tuple[Ino, bytes] | None:
        if self.trusted():
            node = self._known.node(ino)
            place = None if node is None else node.place
            if place is not None:
                return place

        def learn(ticket: Ticket, place: tuple[Ino, bytes] | None) -> None:
            if place is not None and self._known.attr(ino) is not None:
                self._learn_name(ticket, *place, ino)

        return self._ask(lambda: self._namespace.parent(ino), learn)

    def readlink(self, ino: Ino) -> bytes:
        if self.trusted():
            node = self._known.node(ino)
            target = None if node is None else node.target
            if target is not None:
                return target

        def learn(ticket: Ticket, target: bytes) -> None:
            if self._fresh.is_fresh(ticket, ino):
                self._known.make(ino).target = target

        return self._ask(lambda: self._namespace.readlink(ino), learn)

    def xattr(self, ino: Ino, name: bytes) -> bytes:
        if not self.trusted():
            return self._ask(lambda: self._namespace.xattr(ino, name), lambda _, __: None)
        found = self._known.xattrs_at(ino)
        value = (found if found is not None else dict(self._all_xattrs(ino))).get(name)
        if value is None:
            raise NoAttribute(f"inode {ino} has no attribute {name!r}")
        return value

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        if self.trusted():
            found = self._known.xattrs_at(ino)
            if found is not None:
                self._counts.hits += 1
                return sorted(found.items())
        return self._all_xattrs(ino)

    def _all_xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        """With those of inodes that came to be known next to it: whoever lists asks for them, too."""
        self.may_wait()
        inos = self._known.without_xattrs(range(ino, ino + PAGE)) if self.trusted() else []
        if len(inos) < _XATTR_MISSES:

            def learn_one(ticket: Ticket, found: list[tuple[bytes, bytes]]) -> None:
                if self._fresh.is_fresh(ticket, ino):
                    self._known.set_xattrs(ino, dict(found))

            return self._ask(lambda: self._namespace.xattrs(ino), learn_one)

        def learn(ticket: Ticket, found: list[tuple[Ino, bytes, bytes]]) -> None:
            xattrs: dict[Ino, dict[bytes, bytes]] = {one: {} for one in inos}
            for one, name, value in found:
                xattrs[one][name] = value
            for one, those in xattrs.items():
                if self._fresh.is_fresh(ticket, one):
                    self._known.set_xattrs(one, those)

        answer = self._ask(lambda: self._namespace.xattrs_of(inos, b""), learn)
        return [(name, value) for one, name, value in answer if one == ino]

    def xattrs_of(self, inos: Sequence[Ino], prefix: bytes) -> list[tuple[Ino, bytes, bytes]]:
        self.settle()
        return self._namespace.xattrs_of(inos, prefix)

    def content(self, content: ContentId) -> ContentInfo:
        """Sealed ones are kept: they never change."""
        found = self._known.sealed.get(content)
        if found is not None and self.trusted():
            return found

        def learn(_: Ticket, info: ContentInfo) -> None:
            if info.kind == ContentKind.SEALED:
                if len(self._known.sealed) >= _CONTENTS:
                    self._known.sealed.clear()
                self._known.sealed[content] = info

        return self._ask(lambda: self._namespace.content(content), learn)

    # --- what a ticket allows to be kept; lock held --------------------------------------------------

    def _learn_attr(self, ticket: Ticket, attr: Attr, digest: bytes | Unknown | None = UNKNOWN) -> None:
        if self._fresh.is_fresh(ticket, attr.ino):
            self._known.set_attr(attr, digest)

    def _learn_name(self, ticket: Ticket, parent: Ino, name: bytes, ino: Ino) -> None:
        if self._fresh.is_fresh(ticket, (parent, name)):
            self._known.set_name(parent, name, ino)

    # --- what is always asked ------------------------------------------------------------------------

    def extents(self, content: ContentId, first: int, last: int) -> list[RegionMap]:
        """Their readers keep them; and re-chunking, which changes them, is told to nobody."""

        def question() -> list[RegionMap]:
            if self.answering is not None and content in self.answering.void:
                raise Stale(f"content {content} has not come to be")
            return self._namespace.extents(content, first, last)

        return self._ask(question, lambda _, __: None)

    def extents_of(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        return self._namespace.extents_of(contents)

    def has_content(self, content: ContentId) -> bool:
        self.settle()
        return self._namespace.has_content(content)

    def records(self, space: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        self.settle()
        return self._namespace.records(space, prefix)

    def blob(self, digest: bytes, length: int) -> BlobRef | None:
        self.settle()
        return self._namespace.blob(digest, length)

    def blobs(self, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
        self.settle()
        return self._namespace.blobs(after, limit)

    def usage(self) -> VolumeUsage:
        return self._ask(self._namespace.usage, lambda _, __: None)

    def room(self, directory: Ino | None) -> Room | None:
        return self._ask(lambda: self._namespace.room(directory), lambda _, __: None)

    def watch(self, since: int) -> Iterator[Change]:
        return self._namespace.watch(since)
