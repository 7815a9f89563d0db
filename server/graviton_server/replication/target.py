"""A target over several: objects go to all that shall have them, and come from the first that does.

Order for one pack: rows of all wanted copies, with the pack's row, durable -> the bytes at the quorum ->
``stored`` for the copies that are there -> the pack is live. A copy that is missing then is work in the
database, whoever of the daemons does it.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from io import BytesIO
from typing import BinaryIO, Final, TypeVar
from uuid import UUID

from typing_extensions import Buffer

from graviton_server.packs.format import pack_key
from graviton_server.replication.hedging import Hedging
from graviton_server.replication.members import Member, Members
from graviton_server.replication.placement import Wish, copies_of, zones_of
from gravitonfs.errors import Damaged, GravitonError, Invalid, NoSpace, NotFound, Unavailable
from gravitonfs.ports.replicas import READABLE, CopyState, TargetNumber
from gravitonfs.ports.target import ObjectInfo, RemoteTarget, Space, Target

_log = logging.getLogger(__name__)

_KNOWN: Final = 65_536
"""Packs whose places are remembered."""
_PACE: Final = 1_000_000
"""Bytes a second that a target may take for a pack, beside the patience there is."""
_THREADS: Final = 32
T = TypeVar("T")


def uuid_of(key: str) -> bytes | None:
    """Of the pack with this key; None: it is another object."""
    try:
        uuid = UUID(key.rsplit("/", 1)[-1].removesuffix(".pack")).bytes
    except ValueError:
        return None
    return uuid if pack_key(uuid) == key else None


class ReplicatedTarget:
    """A ``Target``, and ``CopiedTarget``. ``_lock`` guards ``_known``, where packs are.

    Objects that are no packs are derived from them: they are put wherever that works.
    """

    def __init__(self, members: Members, name: str = "replicated") -> None:
        self.name = name
        self.members = members
        self._replicas = members.replicas
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[TargetNumber, ...]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="replicas")
        self.hedging = Hedging()
        self.degraded_writes = 0
        self.on_damage: Callable[[], object] = lambda: None
        """Called when a copy was found missing or bad: replaced by whoever repairs."""

    # --- writing ---

    def put(self, key: str, body: BinaryIO, length: int) -> None:
        uuid = uuid_of(key)
        if uuid is None:
            self._put_derived(key, body, length)
            return
        wanted = self.members.pick(copy.target for copy in self._replicas.copies(uuid))
        if not wanted:
            wanted = self.members.pick(self.members.placed_now(uuid))
        bodies = _Bodies(body, length)
        writing = _Writing(self.members.wish(), key, bodies, length)
        self._put_at(writing, wanted)
        for other in self.members.others(uuid, wanted):
            if writing.enough():
                break
            self._put_at(writing, [other])
        if not writing.enough():
            self._wait_for_late(writing)
        for future, member in writing.late.items():
            writing.failed[member.name] = Unavailable(member.trouble)
            future.add_done_callback(partial(self._comes_late, uuid, key, member))
        self._remember(uuid, [member.number for member in writing.done])
        if writing.done:
            self._replicas.stored(uuid, [member.number for member in writing.done])
        if not writing.enough():
            raise writing.refusal()
        if writing.failed:
            with self._lock:
                self.degraded_writes += 1

    def _put_at(self, writing: _Writing, members: Sequence[Member]) -> None:
        """At all of them at once. Those that fail are passed by once there are enough copies without them,
        and so are those that take longer than is waited for."""
        sound = [member for member in members if not member.avoided]
        doubtful = [member for member in members if member.avoided]
        self._put_together(writing, sound)
        if not writing.enough():
            self._put_together(writing, doubtful)
        else:
            for member in doubtful:
                writing.failed[member.name] = Unavailable(member.trouble or "it failed just now")

    def _put_together(self, writing: _Writing, members: Sequence[Member]) -> None:
        running = {self._pool.submit(writing.put, member): member for member in members}
        done, late = wait(running, timeout=self.members.settings.patience + writing.length / _PACE)
        self._take(writing, running, done)
        for future in late:
            member = running[future]
            member.failed(Unavailable("it takes too long to store a pack"))
            writing.late[future] = member

    def _wait_for_late(self, writing: _Writing) -> None:
        """There are not enough copies without them."""
        late, writing.late = writing.late, {}
        self._take(writing, late, set(wait(late).done))

    def _comes_late(self, uuid: bytes, key: str, member: Member, future: Future[None]) -> None:
        """A copy that nobody has waited for: it counts, unless its pack is gone."""
        if future.cancelled() or future.exception() is not None:
            return
        try:
            if self._replicas.copies(uuid):
                self._replicas.stored(uuid, [member.number])
            else:
                member.opened().delete(key)
        except GravitonError as error:
            _log.warning("a late copy of %s on %s is not noted: %s", key, member.name, error)

    def _take(
        self, writing: _Writing, running: Mapping[Future[None], Member], done: set[Future[None]]
    ) -> None:
        for future in done:
            member = running[future]
            try:
                future.result()
            except Invalid:
                raise
            except GravitonError as error:
                member.failed(error)
                writing.failed[member.name] = error
            else:
                member.works()
                writing.done.append(member)

    def _put_derived(self, key: str, body: BinaryIO, length: int) -> None:
        bodies = _Bodies(body, length)
        trouble: GravitonError | None = None
        stored = 0
        for member in self.members.active():
            try:
                member.present().put(key, bodies.one(), length)
                stored += 1
            except Invalid:
                raise
            except GravitonError as error:
                member.failed(error)
                trouble = error
        if not stored:
            raise trouble or Unavailable("no target takes objects")

    # --- reading ---

    def get(self, key: str, start: int, length: int) -> Buffer:
        return self._first(key, lambda target: target.get(key, start, length), length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        size = sum(length for _, length in ranges)
        return self._first(key, lambda target: target.get_ranges(key, ranges), size)

    def head(self, key: str) -> ObjectInfo:
        return self._first(key, lambda target: target.head(key))

    def _first(self, key: str, call: Callable[[Target], T], size: int = 0) -> T:
        """From the nearest copy that answers, or from another one where that is slow to read ``size`` bytes.
        What is missing or unreadable is reported."""
        missing: list[Member] = []
        damaged: list[Member] = []
        away: GravitonError | None = None
        for member in self._sources(key):
            try:
                found = self.hedging.read(member, partial(self._beside, key, member), call, size)
            except NotFound:
                missing.append(member)
            except Damaged:
                damaged.append(member)
            except GravitonError as error:
                member.failed(error)
                away = error
            else:
                self._report(key, missing, damaged)
                return found
        if away is not None:
            raise Unavailable(f"no copy of {key} can be reached now: {away}") from away
        if damaged:
            raise Damaged(f"no copy of {key} can be read")
        raise NotFound(f"no target has {key}")

    def _beside(self, key: str, member: Member) -> Member | None:
        """The nearest other copy, as far as that is known without asking."""
        uuid = uuid_of(key)
        with self._lock:
            known = () if uuid is None else self._known.get(uuid, ())
        others = [other for other in self.members.pick(known) if other is not member and not other.avoided]
        return min(others, key=_distance, default=None)

    def _sources(self, key: str) -> Iterator[Member]:
        """Those that should have it, then, in case the rows are wrong, the others."""
        uuid = uuid_of(key)
        tried: set[TargetNumber] = set()
        for numbers in self._places(uuid):
            members = [member for member in self.members.pick(numbers) if member.number not in tried]
            tried.update(member.number for member in members)
            yield from sorted(members, key=_distance)
        rest = [member for member in self.members.all() if member.number not in tried]
        yield from sorted(rest, key=_distance)

    def _places(self, uuid: bytes | None) -> Iterator[Sequence[TargetNumber]]:
        if uuid is None:
            return
        with self._lock:
            known = self._known.get(uuid, ())
        if known:
            yield known
        found = [copy.target for copy in self._replicas.copies(uuid) if copy.state in READABLE]
        if found:
            self._remember(uuid, found)
        yield found

    def _remember(self, uuid: bytes, numbers: Sequence[TargetNumber]) -> None:
        with self._lock:
            self._known[uuid] = tuple(numbers)
            self._known.move_to_end(uuid)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def forget(self, uuid: bytes) -> None:
        """Its copies have moved."""
        with self._lock:
            self._known.pop(uuid, None)

    def _report(self, key: str, missing: Sequence[Member], damaged: Sequence[Member]) -> None:
        for member in missing:
            self.report_missing(key, member)
        for member in damaged:
            self._bad(key, member, CopyState.BAD)

    def report_missing(self, key: str, member: Member) -> None:
        """A copy that should be there is not, unless all of the target is away."""
        member.doubt()
        try:
            member.present()
        except GravitonError:
            return
        self._bad(key, member, CopyState.WANTED)

    def _bad(self, key: str, member: Member, state: CopyState) -> None:
        uuid = uuid_of(key)
        if uuid is not None and self._replicas.bad(uuid, member.number, state):
            what = "lost" if state is CopyState.WANTED else "damaged"
            _log.warning(
                "the copy of %s on the target %s is %s: it will be made anew", key, member.name, what
            )
            self.forget(uuid)
            self.on_damage()

    # --- copies ---

    def copies(self, key: str) -> Sequence[Target]:
        return [member.target for member in self._sources(key) if member.target is not None]

    def report_bad(self, key: str, copy: Target) -> None:
        for member in self.members.all():
            if member.target is copy:
                self._bad(key, member, CopyState.BAD)

    # --- objects that are kept on each ---

    def each(self) -> Sequence[Target]:
        return [member.target for member in self.members.all() if member.target is not None]

    def writable(self) -> Sequence[Target]:
        found: list[Target] = []
        for member in self.members.active():
            try:
                found.append(member.present())
            except GravitonError as error:
                member.failed(error)
        return found

    def suffices(self, places: Sequence[Target]) -> bool:
        there = [member.place for member in self.members.all() if member.target in places]
        return self.members.wish().floor.met_by(there)

    # --- the rest ---

    def delete(self, key: str) -> None:
        """Every target that may have a copy must have confirmed; others are asked, too, as far as they
        answer."""
        uuid = uuid_of(key)
        must = {copy.target for copy in self._replicas.copies(uuid)} if uuid is not None else set()
        trouble: list[str] = []
        for member in self.members.all():
            try:
                if member.number in must:
                    member.present().delete(key)
                elif not member.avoided:
                    member.opened().delete(key)
            except GravitonError as error:
                if member.number in must:
                    trouble.append(f"{member.name}: {error}")
        if trouble:
            raise Unavailable(f"{key} is not deleted everywhere yet: {'; '.join(trouble)}")
        if uuid is not None:
            self.forget(uuid)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Each object once, with the length of the first that has it, on the targets that answer: what is not
        listed is looked for (``head``) before it is called missing."""
        seen: set[str] = set()
        for member in self.members.all():
            try:
                for item in member.opened().list(prefix):
                    if item.key not in seen:
                        seen.add(item.key)
                        yield item
            except GravitonError as error:
                member.failed(error)

    def space(self) -> Space:
        """What goes in once more, all wanted copies counted. One in trouble takes nothing, and is not waited
        for: whether a daemon is ready hangs on this, and balancers ask often."""
        capacity = free = 0
        for member in self.members.active():
            if member.trouble:
                continue
            try:
                space = member.space()
            except Unavailable as error:
                member.failed(error)
                continue
            except GravitonError:
                continue
            if not space.capacity:
                return Space(0, 0)
            capacity += space.capacity
            free += space.free
        copies = max(1, self.members.wish().factor)
        return Space(capacity // copies, free // copies)

    def below_floor(self) -> str | None:
        """Why writes would be refused now, as far as that is known; None: they would not."""
        works = [member.place for member in self.members.active() if not member.avoided]
        floor = self.members.wish().floor
        if floor.met_by(works):
            return None
        troubles = "; ".join(f"{m.name}: {m.trouble}" for m in self.members.active() if m.trouble)
        return (
            f"the targets that work give {copies_of(works)} copies in {zones_of(works)} zones, and writes"
            f" need {floor.factor} in {floor.min_zones}: {troubles}"
        )

    @property
    def max_object(self) -> int:
        return min((target.max_object for _, target in self._remote()), default=1 << 62)

    def _remote(self) -> Iterator[tuple[Member, RemoteTarget]]:
        for member in self.members.all():
            target: object = member.target
            if isinstance(target, RemoteTarget):
                yield member, target

    def sweep_uploads(self) -> int:
        count = 0
        for member, target in self._remote():
            try:
                count += target.sweep_uploads()
            except GravitonError as error:
                member.failed(error)
        return count

    def requests(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for _, target in self._remote():
            for kind, count in target.requests().items():
                found[kind] = found.get(kind, 0) + count
        return found

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.hedging.close()
        self.members.close()


class _Bodies:
    """The bytes of one object, for several readers at once."""

    def __init__(self, body: BinaryIO, length: int) -> None:
        self._again: Callable[[], BinaryIO] | None = getattr(body, "again", None)
        self._data = b"" if self._again is not None else body.read(length + 1)

    def one(self) -> BinaryIO:
        return self._again() if self._again is not None else BytesIO(self._data)


class _Writing:
    """One object on its way. ``done``, ``late`` and ``failed`` are the caller's thread's."""

    def __init__(self, wish: Wish, key: str, bodies: _Bodies, length: int) -> None:
        self._wish = wish
        self._key = key
        self._bodies = bodies
        self.length = length
        self.done: list[Member] = []
        self.late: dict[Future[None], Member] = {}
        self.failed: dict[str, GravitonError] = {}

    def put(self, member: Member) -> None:
        member.check_room(self.length)
        member.present().put(self._key, self._bodies.one(), self.length)
        member.used += self.length

    def enough(self) -> bool:
        return self._wish.floor.met_by([member.place for member in self.done])

    def refusal(self) -> GravitonError:
        places = [member.place for member in self.done]
        floor = self._wish.floor
        why = "; ".join(f"{name}: {error}" for name, error in sorted(self.failed.items()))
        text = (
            f"a pack has {copies_of(places)} copies in {zones_of(places)} zones, and is not stored under"
            f" {floor.factor} in {floor.min_zones}: {why or 'no other target'}"
        )
        full = self.failed and all(isinstance(error, NoSpace) for error in self.failed.values())
        return NoSpace(text) if full else Unavailable(text)


def _distance(member: Member) -> tuple[bool, int, bool, int]:
    """As measured; where nothing is, a directory is nearer than a bucket."""
    return member.avoided, member.latency.distance, member.row.kind != "directory", member.number
