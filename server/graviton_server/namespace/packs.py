"""Pack rows in the namespace's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from graviton_server.namespace.packtail import PackTail
from graviton_server.namespace.replicas import ADD, GONE
from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.errors import Invalid, MissingBlocks
from gravitonfs.ports.packs import PackNews, PackRow, PackState
from gravitonfs.ports.replicas import Placing

if TYPE_CHECKING:
    from graviton_server.namespace.store import NamespaceStore

RELIED_STEP_NS: Final = 600 * 10**9
"""How stale ``relied`` may be: the usual batch then writes no pack row."""

_COLUMNS: Final = "number, uuid, state, owner, length, blocks, created, relied, changed"
_ADD: Final = f"INSERT INTO packs ({_COLUMNS}) VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?)"
_SEALED: Final = "UPDATE packs SET length = ?, blocks = ?, footer = ?, changed = ? WHERE number = ?"
_STATE: Final = "UPDATE packs SET state = ?, changed = ? WHERE number = ?"
_RELIED: Final = "UPDATE packs SET relied = ? WHERE number = ?"
_DELETE: Final = "DELETE FROM packs WHERE number = ?"
_ROWS: Final = f"SELECT {_COLUMNS} FROM packs WHERE number > ? ORDER BY number LIMIT ?"
_GET: Final = f"SELECT {_COLUMNS} FROM packs WHERE number = ?"
_FIND: Final = f"SELECT {_COLUMNS} FROM packs WHERE uuid = ?"
_CACHE: Final = "SELECT number, state, relied FROM packs"
_STORING: Final = "SELECT number, owner FROM packs WHERE state = ?"
_FOOTER: Final = "SELECT footer FROM packs WHERE number = ? AND footer IS NOT NULL"
_SHED: Final = "UPDATE packs SET footer = NULL WHERE number = ?"

_LIVE: Final = PackState.LIVE.value


class SqlPacks:
    """Implements ``PackRegistry``. States and ``relied`` times are kept in memory too, so that a batch
    checks its packs without a query; only this process writes them, under the store's lock."""

    def __init__(self, store: NamespaceStore) -> None:
        self._store = store
        self._known: dict[int, tuple[str, int]] = {}
        self._relied: dict[int, int] = {}  # exact, where the rows lag; collection depends on it
        self._next = 1
        self._tail = PackTail()
        self.placing: Placing = lambda uuid: ()

    def load(self) -> None:
        self._known = {
            number: (state, relied) for number, state, relied in self._store.execute(_CACHE).fetchall()
        }
        row = self._store.execute("SELECT seq FROM sqlite_sequence WHERE name = 'packs'").fetchone()
        self._next = (row[0] if row else 0) + 1

    def refused(self, packs: Sequence[int]) -> None:
        """Raise MissingBlocks unless every pack is live. Lock held, no query."""
        known = self._known
        missing = tuple(number for number in packs if number and known.get(number, _NONE)[0] != _LIVE)
        if missing:
            raise MissingBlocks(missing)

    def is_live(self, number: PackNumber) -> bool:
        """Lock held, no query."""
        return self._known.get(number, _NONE)[0] == _LIVE

    def rely(self, packs: Sequence[int], clock: int) -> None:
        """Note that a batch that is being applied relies on these packs."""
        for number in packs:
            self._relied[number] = clock
            found = self._known.get(number)
            if found is not None and clock - found[1] >= RELIED_STEP_NS:
                self._store.change(self._set_relied, number, clock)

    def _set_relied(self, number: int, clock: int) -> None:
        self._known[number] = (self._known[number][0], clock)
        self._store.execute(_RELIED, (clock, number))

    def begin(self, uuid: bytes, owner: str, state: PackState) -> PackNumber:
        if state not in (PackState.STORING, PackState.LIVE):
            raise Invalid(f"a pack cannot begin as {state.value}")
        store = self._store
        with store.lock:
            number = self._next
            self._next = number + 1
            placed = tuple(self.placing(uuid))
            store.change(self._begin, number, uuid, owner, state.value, store.clock_ns(), placed)
            if state is PackState.STORING:
                store.commit()
        return PackNumber(number)

    def _begin(
        self, number: int, uuid: bytes, owner: str, state: str, now: int, placed: Sequence[int]
    ) -> None:
        self._store.execute(_ADD, (number, uuid, state, owner, now, now, now))
        for target in placed:
            self._store.execute(ADD, (number, target, "wanted"))
        self._known[number] = (state, now)

    def sealed(self, number: PackNumber, length: int, blocks: int, footer: bytes) -> None:
        store = self._store
        with store.lock:
            store.change(store.execute, _SEALED, (length, blocks, footer, store.clock_ns(), number))

    def publish(self, number: PackNumber, length: int = 0, blocks: int = 0, footer: bytes = b"") -> bool:
        store = self._store
        with store.lock:
            state, _ = self._known.get(number, _NONE)
            if state == PackState.STORING.value:
                store.change(self._publish, number, length, blocks, footer, store.clock_ns())
            elif state != _LIVE:
                return False
            store.commit()
        return True

    def _publish(self, number: int, length: int, blocks: int, footer: bytes, now: int) -> None:
        if length:
            self._store.execute(_SEALED, (length, blocks, footer, now, number))
        self._set_state(number, _LIVE, now)

    def abandon(self, number: PackNumber) -> None:
        self._move(number, (PackState.STORING, PackState.LIVE), PackState.ABANDONED, durable=False)

    def deleting(self, number: PackNumber) -> bool:
        return self._move(
            number, (PackState.CONDEMNED, PackState.ABANDONED), PackState.DELETING, durable=True
        )

    def _move(self, number: PackNumber, old: Sequence[PackState], new: PackState, *, durable: bool) -> bool:
        store = self._store
        with store.lock:
            state, _ = self._known.get(number, _NONE)
            if all(state != allowed.value for allowed in old):
                return False
            store.change(self._set_state, number, new.value, store.clock_ns())
            if durable:
                store.commit()
        return True

    def _set_state(self, number: int, state: str, now: int) -> None:
        self._store.execute(_STATE, (state, now, number))
        self._known[number] = (state, self._known[number][1])
        self._tail.changed(number)

    def condemn(self, numbers: Sequence[PackNumber], before_ns: int) -> list[PackNumber]:
        store = self._store
        done: list[PackNumber] = []
        with store.lock:
            for number in numbers:
                state, relied = self._known.get(number, _NONE)
                if state == _LIVE and max(relied, self._relied.get(number, 0)) < before_ns:
                    store.change(self._set_state, number, PackState.CONDEMNED.value, store.clock_ns())
                    done.append(number)
            if done:
                store.commit()
        return done

    def deleted(self, number: PackNumber) -> None:
        store = self._store
        with store.lock:
            if self._known.get(number, _NONE)[0] == PackState.DELETING.value:
                store.change(self._delete, number)

    def _delete(self, number: int) -> None:
        self._store.execute(_DELETE, (number,))
        self._store.execute(GONE, (number,))
        self._known.pop(number, None)
        self._relied.pop(number, None)
        self._tail.gone(number)

    def rows(self, after: PackNumber = NO_PACK, limit: int = 1000) -> list[PackRow]:
        with self._store.reading() as execute:
            return [_row(row) for row in execute(_ROWS, (after, limit))]

    def get(self, number: PackNumber) -> PackRow | None:
        with self._store.reading() as execute:
            row = execute(_GET, (number,)).fetchone()
        return None if row is None else _row(row)

    def find(self, uuid: bytes) -> PackRow | None:
        with self._store.reading() as execute:
            row = execute(_FIND, (uuid,)).fetchone()
        return None if row is None else _row(row)

    def clock_ns(self) -> int:
        with self._store.lock:
            return self._store.clock_ns()

    # --- several engines ---

    def enroll(self, owner: str) -> int:
        with self._store.lock:
            self._tail.heard(owner, self._tail.position, self._store.clock_ns())
            return self._tail.position

    def tail(self, owner: str, after: int, limit: int = 64) -> list[PackNews]:
        with self._store.reading() as execute:
            self._tail.heard(owner, after, self._store.clock_ns())
            news = []
            for position, number in self._tail.behind(after, limit):
                row = _row(execute(_GET, (number,)).fetchone())
                found = execute(_FOOTER, (number,)).fetchone() if row.state is PackState.LIVE else None
                news.append(PackNews(position, row, found[0] if found else b""))
            return news

    def leave(self, owner: str) -> None:
        with self._store.lock:
            self._tail.leave(owner)

    def abandon_dead(self, silent_ns: int) -> list[PackNumber]:
        store = self._store
        with store.reading() as execute:
            now = store.clock_ns()
            alive = self._tail.alive(now - silent_ns)
            storing = execute(_STORING, (PackState.STORING.value,)).fetchall()
            dead = [PackNumber(number) for number, owner in storing if owner not in alive]
            for number in dead:
                store.change(self._set_state, number, PackState.ABANDONED.value, now)
            if dead:
                store.commit()
            return dead

    def footers(self, numbers: Sequence[PackNumber]) -> dict[PackNumber, bytes]:
        with self._store.reading() as execute:
            found = [(number, execute(_FOOTER, (number,)).fetchone()) for number in numbers]
            return {number: row[0] for number, row in found if row is not None}

    def shed_footers(self, numbers: Sequence[PackNumber]) -> int:
        store = self._store
        with store.lock:
            read = self._tail.read_by_all(store.clock_ns())
            shed = [n for n in self.footers(numbers) if self._tail.of(n) <= read]
            for number in shed:
                store.change(store.execute, _SHED, (number,))
            return len(shed)


_NONE: Final = ("", 0)


def _row(row: tuple[int, bytes, str, str, int, int, int, int, int]) -> PackRow:
    number, uuid, state, owner, length, blocks, created, relied, changed = row
    return PackRow(
        PackNumber(number), uuid, PackState(state), owner, length, blocks, created, relied, changed
    )
