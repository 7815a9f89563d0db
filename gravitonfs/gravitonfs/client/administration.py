"""What an administrator asks of a daemon, without a session of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gravitonfs.client.connection import Connection
from gravitonfs.client.failures import until_answered
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

_ADMIN: Final = "/graviton.v1.AdminService/"
_CALL: Final = 60.0
_COUNTING: Final = 3600.0
"""A whole tree may have to be counted."""
_TURNING: Final = 180.0
"""Packs that were begun are finished first."""


class SessionInfo(NamedTuple):
    """``remote``: of another process, by gRPC. ``attached``: False where the daemon that had it has ended,
    or another one has it. ``holds``: it has its volume to itself, and keeps what it was told."""

    number: int
    volume: str
    label: str
    read_only: bool
    remote: bool
    attached: bool
    holds: bool
    idle_seconds: float | None
    """Since it was heard of, where that is known."""


class Allowance(NamedTuple):
    """``judged``: False where the daemon has authentication off, and has not looked at the token."""

    name: str
    judged: bool
    read: bool
    write: bool


def who_am_i(connection: Connection, volume: str, *, timeout: float, token: str | None = None) -> Allowance:
    """What a token allows in a volume: ours, or this one. Unauthenticated; Unsupported by an older daemon."""

    def attempt(left: float) -> pb.WhoAmIReply:
        request = pb.WhoAmIRequest(volume=volume)
        return connection.call(
            _ADMIN + "WhoAmI", request, pb.WhoAmIReply, timeout=min(left, _CALL), token=token
        )

    reply = until_answered(attempt, timeout)
    return Allowance(reply.name, reply.judged, reply.read, reply.write)


class SnapshotInfo(NamedTuple):
    """``created``: seconds since the epoch."""

    name: str
    created: float
    logical_bytes: int
    inodes: int
    scheduled: bool


class QuotaInfo(NamedTuple):
    """Limits: None for none. ``counting``: what was there before is being counted."""

    path: bytes
    max_bytes: int | None
    max_inodes: int | None
    bytes: int
    inodes: int
    counting: bool


class QuotaCheckInfo(NamedTuple):
    """As it was kept, and as it was counted at the same moment."""

    quota: QuotaInfo
    bytes: int
    inodes: int
    repaired: bool

    @property
    def right(self) -> bool:
        return (self.bytes, self.inodes) == (self.quota.bytes, self.quota.inodes)


class TargetReport(NamedTuple):
    """A place for packs. Counts are of copies. ``in_use``: the daemon that answers has it open."""

    name: str
    kind: str
    zone: str
    weight: float
    capacity: int
    copies: int
    zones: int
    state: str
    location: str
    packs: int
    bytes: int
    missing: int
    bad: int
    moving: int
    leaving: int
    free: int
    in_use: bool
    trouble: str


class Administration:
    """Needs the scope graviton:admin; ``snapshots`` and ``quotas`` only that the volume may be read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def sessions(self, volume: str = "") -> Sequence[SessionInfo]:
        """Of one volume, or of all."""
        request = pb.ListSessionsRequest(volume=volume)
        reply = self._connection.call(_ADMIN + "ListSessions", request, pb.ListSessionsReply, timeout=_CALL)
        return [
            SessionInfo(
                one.number,
                one.volume,
                one.label,
                one.read_only,
                one.remote,
                one.attached,
                one.holds,
                one.idle_seconds if one.principal else None,
            )
            for one in reply.sessions
        ]

    def evict(self, number: int) -> None:
        """End a session: what it sends from now on is refused. NotFound."""
        request = pb.EvictSessionRequest(number=number)
        self._connection.call(_ADMIN + "EvictSession", request, pb.EvictSessionReply, timeout=_CALL)

    # --- snapshots -----------------------------------------------------------------------------------

    def snapshots(self, volume: str = "main") -> Sequence[SnapshotInfo]:
        """The oldest comes first."""
        request = pb.ListSnapshotsRequest(volume=volume)
        reply = self._connection.call(_ADMIN + "ListSnapshots", request, pb.ListSnapshotsReply, timeout=_CALL)
        return [_snapshot(one) for one in reply.snapshots]

    def create_snapshot(self, name: str, volume: str = "main") -> SnapshotInfo:
        """See ``SessionStore``. Exists, Invalid, NotFound."""
        request = pb.CreateSnapshotRequest(volume=volume, name=name)
        return _snapshot(
            self._connection.call(_ADMIN + "CreateSnapshot", request, pb.Snapshot, timeout=_CALL)
        )

    def delete_snapshot(self, name: str, volume: str = "main") -> None:
        """NotFound."""
        request = pb.DeleteSnapshotRequest(volume=volume, name=name)
        self._connection.call(_ADMIN + "DeleteSnapshot", request, pb.DeleteSnapshotReply, timeout=_CALL)

    # --- quotas --------------------------------------------------------------------------------------

    def quotas(self, volume: str = "main") -> Sequence[QuotaInfo]:
        """By path."""
        request = pb.ListQuotasRequest(volume=volume)
        reply = self._connection.call(_ADMIN + "ListQuotas", request, pb.ListQuotasReply, timeout=_CALL)
        return [_quota(one) for one in reply.quotas]

    def set_quota(
        self, path: bytes, max_bytes: int | None, max_inodes: int | None, volume: str = "main"
    ) -> QuotaInfo:
        """See ``ports.quotas``. NotFound, NotADirectory, Invalid."""
        request = pb.SetQuotaRequest(volume=volume, path=path, max_bytes=max_bytes, max_inodes=max_inodes)
        return _quota(self._connection.call(_ADMIN + "SetQuota", request, pb.Quota, timeout=_COUNTING))

    def delete_quota(self, path: bytes, volume: str = "main") -> None:
        """NotFound."""
        request = pb.DeleteQuotaRequest(volume=volume, path=path)
        self._connection.call(_ADMIN + "DeleteQuota", request, pb.DeleteQuotaReply, timeout=_CALL)

    def check_quotas(
        self, path: bytes | None = None, *, repair: bool = False, volume: str = "main"
    ) -> Sequence[QuotaCheckInfo]:
        """One, or all. NotFound."""
        request = pb.CheckQuotasRequest(volume=volume, path=path, repair=repair)
        reply = self._connection.call(_ADMIN + "CheckQuotas", request, pb.CheckQuotasReply, timeout=_COUNTING)
        return [
            QuotaCheckInfo(_quota(one.quota), one.bytes, one.inodes, one.repaired) for one in reply.quotas
        ]

    # --- targets -------------------------------------------------------------------------------------

    def targets(self) -> Sequence[TargetReport]:
        """Where packs are kept."""
        reply = self._connection.call(
            _ADMIN + "ListTargets", pb.ListTargetsRequest(), pb.ListTargetsReply, timeout=_CALL
        )
        return [_target(one) for one in reply.targets]

    def add_target(self, name: str, **given: Any) -> TargetReport:
        """``given``: fields of the request. Exists, Invalid, and what keeps the place from being opened."""
        request = pb.AddTargetRequest(name=name, **_given(given))
        return _target(self._connection.call(_ADMIN + "AddTarget", request, pb.Target, timeout=_TURNING))

    def change_target(self, name: str, **given: Any) -> TargetReport:
        """NotFound, Busy, Invalid."""
        request = pb.ChangeTargetRequest(name=name, **_given(given))
        return _target(self._connection.call(_ADMIN + "ChangeTarget", request, pb.Target, timeout=_TURNING))


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _target(one: pb.Target) -> TargetReport:
    return TargetReport(*(getattr(one, name) for name in TargetReport._fields))


def _quota(one: pb.Quota) -> QuotaInfo:
    return QuotaInfo(
        one.path,
        one.max_bytes if one.HasField("max_bytes") else None,
        one.max_inodes if one.HasField("max_inodes") else None,
        one.bytes,
        one.inodes,
        one.counting,
    )


def _snapshot(one: pb.Snapshot) -> SnapshotInfo:
    return SnapshotInfo(one.name, one.created_ns / 1e9, one.logical_bytes, one.inodes, one.scheduled)
