"""Copies that are missing or bad are made anew; packs move to where they belong; what is left over goes.

The work is rows of the database; a daemon that takes some has them to itself for a while. One that dies
leaves nothing behind but rows that come due again, and doing a job twice is harmless.

Order for a copy that is made: the bytes on the target -> ``stored``, while the pack is live; if it is not any
more the bytes are deleted again. For one that goes: all wanted copies are there -> the bytes are deleted ->
the row goes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Final, NamedTuple

from graviton_server.packs.format import pack_key
from graviton_server.replication.image import fault_at, fault_of, fetch, merged
from graviton_server.replication.members import Member
from graviton_server.replication.target import ReplicatedTarget
from gravitonfs.core.ids import NO_PACK, PackNumber
from gravitonfs.errors import Damaged, GravitonError, NoSpace, NotFound, Unavailable
from gravitonfs.ports.replicas import READABLE, UNHEALTHY, Copy, CopyJob, CopyState, PackCopies
from gravitonfs.ports.target import SelfCheckingTarget

_log = logging.getLogger(__name__)

_CLAIMED: Final = 600.0
"""Seconds after which somebody else may do what was taken."""
_AGAIN: Final = 60.0
_PLANNED: Final = 86400.0
_BACK_WITHIN: Final = 6.0
_LIST_AGAIN: Final = 0.5
_PAGE: Final = 512
MOVES: Final = (CopyState.MOVING, CopyState.LEAVING)


class Done(NamedTuple):
    made: int = 0
    bytes: int = 0
    removed: int = 0
    failed: int = 0

    def plus(self, other: Done) -> Done:
        return Done(*(one + more for one, more in zip(self, other, strict=True)))


class Copies(NamedTuple):
    """``faults``: (target, what is wrong with the copy there)."""

    good: int
    faults: tuple[tuple[str, str], ...]


class Repair:
    """``_pacing`` lets moves go on one after the other at their rate."""

    def __init__(self, target: ReplicatedTarget, block_key: bytes, *, jobs: int, move_rate: int) -> None:
        self._target = target
        self._members = target.members
        self._replicas = target.members.replicas
        self._block_key = block_key
        self._jobs = jobs
        self._move_rate = move_rate
        self._pacing = threading.Lock()
        self._next_move = 0.0
        self._planned: object = None

    # --- what there is to do ---

    def plan(self, stop: threading.Event) -> int:
        """Note which packs lie elsewhere than they belong, if targets have changed since; how many."""
        asked = (
            self._members.wish_asked,
            frozenset((member.place, member.row.state) for member in self._members.all()),
        )
        if asked == self._planned:
            return 0
        count, after = 0, NO_PACK
        while not stop.is_set() and (page := self._replicas.page(after, _PAGE)):
            count += sum(self._plan_pack(pack) for pack in page)
            after = page[-1].pack
        if not stop.is_set():
            self._planned = asked
        return count

    def _plan_pack(self, pack: PackCopies) -> bool:
        if not pack.copies:
            return False  # not adopted yet
        states = {copy.target: copy.state for copy in pack.copies}
        wanted = self._members.placed_now(pack.uuid, states)
        missing = [number for number in wanted if number not in states]
        if missing:
            there = self._members.pick(n for n, state in states.items() if state in READABLE)
            whole = self._members.wish().met_by([member.place for member in there])
            self._replicas.want(pack.pack, missing, CopyState.MOVING if whole else CopyState.WANTED)
            return True
        stay = [number for number in wanted if states[number] is CopyState.LEAVING]
        if stay:  # it was to go, and belongs here again
            self._replicas.stored(pack.uuid, stay)
        over = [number for number in states if number not in wanted]
        if over and all(states[number] in READABLE for number in wanted):
            self._replicas.leave(pack.pack, over)
            return True
        return bool(stay)

    # --- doing it ---

    def run(self, stop: threading.Event) -> Done:
        """Until nothing is due. What is lost comes before what only moves."""
        total = Done()
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="repair") as pool:
            for states in (UNHEALTHY, MOVES):
                while not stop.is_set():
                    here = [member.number for member in self._members.all() if not member.avoided]
                    jobs = self._replicas.claim(here, states, self._jobs, _CLAIMED)
                    if not jobs:
                        break
                    for done in pool.map(lambda job: self._do(job, stop), jobs):
                        total = total.plus(done)
        return total

    def _do(self, job: CopyJob, stop: threading.Event) -> Done:
        try:
            if job.state is CopyState.LEAVING:
                return self._remove(job)
            if job.state is CopyState.MOVING and not self._pace(job.length, stop):
                self._replicas.later(job, 0.0)
                return Done()
            return self._make(job)
        except GravitonError as error:
            if isinstance(error, NoSpace) and self._does_without(job):
                return Done()
            _log.warning("the copy of %s on target %d waits: %s", pack_key(job.uuid), job.target, error)
            self._replicas.later(job, _AGAIN)
            return Done(failed=1)

    def _does_without(self, job: CopyJob) -> bool:
        """A copy for which there is no room is not wanted any more where the others are enough."""
        copies = self._replicas.copies(job.uuid)
        there = [c.target for c in copies if c.state is CopyState.STORED and c.target != job.target]
        if not self._members.wish().met_by([member.place for member in self._members.pick(there)]):
            return False
        self._replicas.leave(job.pack, [job.target])
        return True

    def _pace(self, size: int, stop: threading.Event) -> bool:
        """Wait until a move may begin; False: it shall not any more."""
        with self._pacing:
            wait = self._next_move - time.monotonic()
            if wait > 0 and stop.wait(wait):
                return False
            self._next_move = max(self._next_move, time.monotonic()) + size / self._move_rate
        return not stop.is_set()

    def _make(self, job: CopyJob) -> Done:
        key = pack_key(job.uuid)
        member = self._member(job)
        if job.state is CopyState.BAD and self._has_healed(member, key, job):
            return Done(made=1)
        member.check_room(job.length)
        image = self.good_image(key, job.uuid, job.length)
        member.present().put(key, BytesIO(image), len(image))
        member.used += len(image)
        if not self._replicas.finished(job, there=True):
            if not self._live(job):
                member.opened().delete(key)  # whoever deletes the pack may have been here before
            return Done()
        self._target.forget(job.uuid)
        self._replan(job)
        _log.info("the copy of %s on %s is made", key, member.name)
        return Done(made=1, bytes=len(image))

    def _has_healed(self, member: Member, key: str, job: CopyJob) -> bool:
        """A shard makes good by itself what it has further copies of."""
        target: object = member.present()
        if not isinstance(target, SelfCheckingTarget):
            return False
        with contextlib.suppress(NotFound):
            return not target.fault(key, job.length) and self._replicas.finished(job, there=True)
        return False

    def _live(self, job: CopyJob) -> bool:
        page = self._replicas.page(PackNumber(job.pack - 1), 1)
        return bool(page) and page[0].pack == job.pack

    def _member(self, job: CopyJob) -> Member:
        member = self._members.get(job.target)
        if member is None:
            raise NotFound(f"there is no target {job.target} any more")
        return member

    def good_image(self, key: str, uuid: bytes, length: int) -> bytearray:
        """The pack from a copy that is wholly good, or put together from several. Copies that are not good
        are reported. Raises ``Damaged``, or what keeps it from being read."""
        bad: list[bytearray] = []
        trouble: GravitonError | None = None
        for copy in self._target.copies(key):
            try:
                image = fetch(copy, key)
            except NotFound:
                member = self._members.named(copy.name)
                if member is not None:
                    self._target.report_missing(key, member)
                continue
            except GravitonError as error:
                trouble = error
                continue
            fault = fault_of(image, uuid, length, self._block_key)
            if not fault:
                return image
            _log.warning("the copy of %s on %s is damaged: %s", key, copy.name, fault)
            self._target.report_bad(key, copy)
            bad.append(image)
        image_of_all = merged(bad, uuid, length, self._block_key) if bad else None
        if image_of_all is not None:
            return image_of_all
        if trouble is not None:
            raise trouble
        raise Damaged(f"there is no good copy of {key}: run graviton fsck")

    def can_be_made(self, uuid: bytes, length: int) -> bool:
        """Whether what the copies have is a good pack together."""
        try:
            self.good_image(pack_key(uuid), uuid, length)
        except GravitonError:
            return False
        return True

    def _replan(self, job: CopyJob) -> None:
        """What moved may leave something over."""
        copies = tuple(self._replicas.copies(job.uuid))
        self._plan_pack(PackCopies(job.pack, job.uuid, copies))

    def _remove(self, job: CopyJob) -> Done:
        key = pack_key(job.uuid)
        member = self._member(job)
        states = dict(self._replicas.copies(job.uuid))
        wanted = self._members.placed_now(job.uuid, states)
        if job.target in wanted or any(states.get(number) is not CopyState.STORED for number in wanted):
            self._replan(job)
            self._replicas.later(job, _AGAIN)
            return Done()
        for keeper in self._members.pick(wanted):
            if keeper.present().head(key).length != job.length:
                self._target.report_bad(key, keeper.opened())
                raise Damaged(f"{key} has another length on {keeper.name}: it stays on {member.name}")
        self._target.forget(job.uuid)
        member.present().delete(key)
        if not self._replicas.finished(job, there=False):
            self._replicas.bad(job.uuid, job.target, CopyState.WANTED)  # it was wanted again at that moment
        return Done(removed=1)

    # --- looking ---

    def waiting(self) -> int:
        """Copies that are known to be missing or bad."""
        return sum(tally.packs for tally in self._replicas.tally() if tally.state in UNHEALTHY)

    def check_presence(self, prefix: str) -> list[tuple[PackNumber, str, str]]:
        """Which copies a listing of their target does not have: (pack, target, what is wrong)."""
        found: list[tuple[PackNumber, str, str]] = []
        for member in self._members.all():
            try:
                there = _listed(member, prefix)
            except GravitonError as error:
                found.append((NO_PACK, member.name, f"it cannot be listed now: {error}"))
                continue
            after = NO_PACK
            while page := self._replicas.page(after, _PAGE):
                after = page[-1].pack
                for pack in page:
                    key = pack_key(pack.uuid)
                    if Copy(member.number, CopyState.STORED) in pack.copies and key not in there:
                        self._lost(pack, key, member, found)
        return found

    def _lost(
        self, pack: PackCopies, key: str, member: Member, found: list[tuple[PackNumber, str, str]]
    ) -> None:
        try:
            member.opened().head(key)  # stored since the listing
        except NotFound:
            self._target.report_missing(key, member)
            found.append((pack.pack, member.name, "it is not there"))

    def check_copies(self, uuid: bytes, length: int) -> Copies:
        """Read every copy that should be there. What is not good is work from then on."""
        key = pack_key(uuid)
        good = 0
        found: list[tuple[str, str]] = []
        for copy in self._replicas.copies(uuid):
            member = self._members.get(copy.target)
            if copy.state is not CopyState.STORED or member is None:
                continue
            try:
                fault = fault_at(member.opened(), key, uuid, length, self._block_key)
            except NotFound:
                self._target.report_missing(key, member)
                found.append((member.name, "it is not there"))
                continue
            except GravitonError as error:
                found.append((member.name, f"it cannot be read now: {error}"))
                continue
            if fault:
                self._target.report_bad(key, member.opened())
                found.append((member.name, fault))
            else:
                good += 1
        return Copies(good, tuple(found))


def _listed(member: Member, prefix: str) -> set[str]:
    """A target that came back just now may be left alone for a moment yet: that is no damage."""
    give_up = time.monotonic() + _BACK_WITHIN
    while True:
        try:
            return {item.key for item in member.present().list(prefix)}
        except Unavailable:
            if time.monotonic() > give_up:
                raise
        time.sleep(_LIST_AGAIN)
