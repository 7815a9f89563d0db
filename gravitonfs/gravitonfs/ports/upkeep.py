"""What the background work (collection, re-chunking, reaping, checks) asks of a namespace."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import BlockId, ContentId, Ino, PackNumber


class ExtentRow(NamedTuple):
    """One stored row of extents (base or delta, live or in history, with its holes)."""

    content: ContentId
    region: int
    extents: tuple[Extent, ...]


class Fragmented(NamedTuple):
    """A content whose extents are many for its size, and nobody has changed it lately."""

    content: ContentId
    version: int
    length: int
    extents: int


class Undigested(NamedTuple):
    content: ContentId
    version: int
    length: int


class Problem(NamedTuple):
    """One thing that ``check`` found wrong: a sentence, and the inode or content meant (0: none)."""

    what: str
    ino: Ino
    content: ContentId


class Mend(NamedTuple):
    """A kind of repair: so many things, what would be done with them, what is lost by it, some of them."""

    kind: str
    found: int
    does: str
    loses: str
    examples: tuple[str, ...]


class HeldBySnapshots(NamedTuple):
    """``logical_bytes``: of files, or states of files, that are in snapshots alone, each once; what they
    share with others is counted all the same."""

    snapshots: int
    logical_bytes: int


class TrashUsage(NamedTuple):
    """``inodes`` in the trash, those below directories that went as a whole included, and the bytes of files
    among them, before deduplication."""

    inodes: int
    logical_bytes: int


class Upkeep(Protocol):
    """Thread-safe. Every call is short (bounded by its limit), so that front ends are not held up."""

    def extent_rows(self) -> Iterator[list[ExtentRow]]:
        """Every row that keeps blocks alive, live and history, in pages; the roots of a mark.

        A row written after the call began may or may not come; rows that are there all along do. All
        rows of one (content, region) are read at one moment, and live rows before history, so that a
        fold or a row that moves into history between two pages hides no block.
        """

    def version(self) -> int:
        """Rises with every change; costs nothing. Whoever looks for work asks whether there can be any."""

    def loose_ids(self) -> list[BlockId]: ...

    def reap(self, limit: int) -> int:
        """Free up to ``limit`` rows of contents, inodes and removed trees that nothing names any more.

        Returns how many; 0 when there is nothing left.
        """

    def fragmented(self, idle_before_ns: int, limit: int) -> list[Fragmented]: ...

    def undigested(self, idle_before_ns: int, limit: int) -> list[Undigested]:
        """Frozen contents and idle drafts without a digest."""

    def deep_drafts(self, limit: int) -> list[ContentId]:
        """Drafts that stand on a base and are worth flattening."""

    def flatten(self, content: ContentId) -> None:
        """Copy what shows through from a draft's bases into it, and let the bases go."""

    def users(self, content: ContentId) -> Sequence[Ino]:
        """The inodes that have this content, itself or through a draft's base."""

    def path(self, ino: Ino) -> bytes:
        """One path of an inode from its volume's root, for messages; ``#<ino>`` when it has none."""

    def check(self) -> Iterator[Problem]:
        """The namespace's own consistency: links, names, contents, references, sizes."""

    def held_by_snapshots(self) -> HeldBySnapshots:
        """Not short where much has changed since the oldest snapshot; holds nobody up."""

    def erase_trash(self, before_ns: int, limit: int, volume: str | None = None) -> int:
        """Of what was removed before then (by the database's clock), erase up to ``limit`` files, links and
        trees for good, the oldest of each volume (or of that one) first. Returns how many; 0 when there are
        none left. Each step is atomic; what was erased in a crash may be there again."""

    def trash_usage(self) -> TrashUsage:
        """Of all volumes. Not short where there is much; holds nobody up."""

    def plan(self) -> list[Mend]:
        """What ``mend`` would put right of what ``check`` finds. Changes nothing."""

    def mend(self, kinds: Collection[str], fresh: Sequence[Ino]) -> list[str]:
        """Put right what is of these kinds, and count links, uses and totals anew; sentences on what was
        done. One transaction, durable; repeating it is harmless. ``fresh``: granted inode numbers, for what
        is made in ``.graviton-lost``. Not short: the namespace is held until it is done."""

    def recount(self) -> list[str]:
        """Put right what is merely counted: links, uses, totals. Sentences on what was wrong. Durable.

        Not short: the namespace is held until it is done.
        """

    def founded_ns(self) -> int:
        """When the store was made, in nanoseconds since the epoch."""

    def fence(self) -> int:
        """Which load founded this database: see ``maintenance.fence``. 0: none did."""

    def restored(self) -> None:
        """The database was put back from a copy of before: a new fence and a new incarnation, as after a
        load, and nothing is left of who was at work then. Nobody is now. Durable."""

    def dump(self) -> Iterator[bytes]:
        """The whole namespace at one moment, as lines of text that ``load`` reads, in pieces."""


class HeldDump(NamedTuple):
    """``bytes``: of the packs that it holds, as long as they are."""

    owner: str
    name: str
    packs: int
    bytes: int


class Housekeeping(Protocol):
    """Which of several engines does what, and what their dumps hold. Thread-safe; times are the database's.

    A turn, and a dump that is being written, end by themselves when nothing is heard of them for
    ``seconds``.
    """

    def take_turn(self, what: str, seconds: float, rest: float = 0.0) -> bool:
        """Also to keep a turn that this engine has. False while another one has it, and where the last one
        ended less than ``rest`` seconds ago."""

    def end_turn(self, what: str) -> None: ...

    def begin_dump(self, owner: str, name: str, seconds: float) -> None:
        """Before the namespace is read: no pack is condemned while a dump is being written. Durable.
        Exists."""

    def renew_dump(self, owner: str, name: str, seconds: float) -> bool:
        """False: it was taken for dead."""

    def keep_dump(self, owner: str, name: str, packs: Sequence[PackNumber]) -> list[PackNumber]:
        """The dump is complete and stays: these packs are never condemned until it is dropped. Durable.
        Those that are not live, if any, are returned, and nothing is kept. Unavailable where the dump had
        been taken for dead."""

    def drop_dump(self, owner: str, name: str) -> None:
        """Whatever it is. Durable; repeating it is harmless."""

    def retire_dump(self, owner: str, name: str) -> None:
        """A kept one of another engine holds nothing any more. That engine is told (``retired_dumps``): it
        removes the file, and then drops the dump; the name is not free before. Durable."""

    def kept_dumps(self, owner: str) -> list[str]: ...

    def retired_dumps(self, owner: str) -> list[str]: ...

    def all_dumps(self) -> list[HeldDump]:
        """Those that are kept, whoever made them."""

    def pinned_packs(self) -> frozenset[PackNumber]:
        """Those of dumps that stay until somebody drops them, not only until newer ones take their place."""

    def held_packs(self, but: tuple[str, str] | None = None) -> frozenset[PackNumber]:
        """Those of all kept dumps, whoever made them; but one, by owner and name."""
