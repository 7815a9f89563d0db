"""The rows that say which packs exist, and the loose blocks kept in the database."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from gravitonfs.core.ids import NO_PACK, BlockId, PackNumber
from gravitonfs.ports.blocks import Block


class PackState(Enum):
    STORING = "storing"
    LIVE = "live"
    CONDEMNED = "condemned"
    DELETING = "deleting"
    ABANDONED = "abandoned"


class PackRow(NamedTuple):
    """Times in nanoseconds by the database's clock; ``length`` 0 while the pack is open."""

    number: PackNumber
    uuid: bytes
    state: PackState
    owner: str
    length: int
    blocks: int
    created_ns: int
    relied_ns: int
    changed_ns: int


class PackNews(NamedTuple):
    """A pack whose state has changed. ``footer``: as it is stored in the pack; empty where the pack is
    not live, or its row does not carry it any more."""

    position: int
    row: PackRow
    footer: bytes


class PackRegistry(Protocol):
    """Pack rows. Thread-safe; each call is one transaction unless it says otherwise.

    On the embedded database the calls join the open group of changes: they are visible at once and
    durable with the next commit. ``durable`` calls wait for it.
    """

    def begin(self, uuid: bytes, owner: str, state: PackState) -> PackNumber:
        """A new row.

        ``live``: not durable by itself: whatever relies on the pack commits together with it.
        ``storing``: durable when this returns, because the pack's bytes may go to a target from then on.
        """

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        """Record what a finished pack holds. Idempotent."""

    def publish(self, number: PackNumber, length: int = 0, blocks: int = 0, footer: bytes = b"") -> bool:
        """``storing`` to ``live``, and, unless ``length`` is 0, what the pack holds, in one transaction.

        Durable, also when a repetition finds it live already (and changes nothing). False, and nothing
        recorded, when a cleaner was faster.
        """

    def abandon(self, number: PackNumber) -> None:
        """A pack that is given up; nothing may rely on it from now on. Only from ``storing`` or ``live``."""

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        """By number, those behind ``after``."""

    def get(self, number: PackNumber) -> PackRow | None: ...

    def find(self, uuid: bytes) -> PackRow | None:
        """As ``get``, by the pack's own name."""

    def condemn(self, numbers: Sequence[PackNumber], before_ns: int) -> list[PackNumber]:
        """Condemn those still live and last relied on before ``before_ns``; return which. Durable.

        Where one process owns the store the time of the last reliance is exact, whatever the rows
        say; elsewhere rows lag by up to 10 minutes, and callers subtract a margin.
        """

    def deleting(self, number: PackNumber) -> bool:
        """``condemned`` or ``abandoned`` to ``deleting``; False otherwise. Durable."""

    def deleted(self, number: PackNumber) -> None:
        """Remove the row of a ``deleting`` pack whose every replica has confirmed."""

    def clock_ns(self) -> int:
        """The clock that ``relied_ns`` is read from; never goes back within an incarnation."""

    # --- several engines on one store ---

    def enroll(self, owner: str) -> int:
        """An engine begins, or begins again under its name. Durable.

        Returns the position to tail from: what changed before it shows in ``rows``. From now on footers
        stay with their rows until this engine, too, has read them.
        """

    def tail(self, owner: str, after: int, limit: int = 64) -> list[PackNews]:
        """Packs that became live, or ceased to be, behind position ``after``; by position, each once,
        as it is now. One query, cheap when there is nothing.

        Positions follow the order of commits: whatever is committed later is behind all that any call
        has returned. Asking tells that the engine has taken in everything up to ``after``, and that it is
        alive (which the database may note up to 10 seconds late). Packs of ``owner`` itself come, too.
        """

    def leave(self, owner: str) -> None:
        """The engine ends: nothing waits for it any more."""

    def abandon_dead(self, silent_ns: int) -> list[PackNumber]:
        """Turn ``storing`` to ``abandoned`` where the owner is not enrolled, or has not been heard of for
        so long; return which. What a dead engine had begun is cleaned up only after this. Durable."""

    def footers(self, numbers: Sequence[PackNumber]) -> dict[PackNumber, bytes]:
        """The footers that the rows of these packs still carry. One query."""

    def shed_footers(self, numbers: Sequence[PackNumber]) -> int:
        """Let go of the footers of these packs, which are on the target in another form, too, as far as
        every enrolled engine that is alive has read them; how many. Not durable by itself."""


class LooseBlocks(Protocol):
    """Blocks that came in with a batch (``Batch.loose``) and wait to be put into packs. Thread-safe."""

    def loose_get(self, ids: Sequence[BlockId]) -> dict[BlockId, Block]:
        """Those of ``ids`` that are loose. One query; payloads are the caller's."""

    def loose_page(self, limit_bytes: int) -> list[Block]:
        """The oldest loose blocks, up to so many stored bytes, at least one if there is any."""

    def loose_drop(self, ids: Sequence[BlockId], packs: Sequence[PackNumber] = ()) -> None:
        """Remove blocks that are durable in ``packs`` now. Durable with the next commit.

        Relies on the packs as a batch does: ``MissingBlocks``, and nothing removed, unless all are
        live. (A block may be loose and in an old pack at once; that pack may be condemned meanwhile.)
        """

    def loose_bytes(self) -> int:
        """Stored bytes of all loose blocks; answered without a query."""
