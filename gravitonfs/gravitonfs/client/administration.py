"""What an administrator asks of a daemon, without a session of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gravitonfs.client.connection import Connection
from gravitonfs.client.failures import until_answered
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

_ADMIN: Final = "/graviton.v1.AdminService/"
_CALL: Final = 60.0


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


class Administration:
    """Needs the scope graviton:admin; ``snapshots`` only that the volume may be read."""

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


def _snapshot(one: pb.Snapshot) -> SnapshotInfo:
    return SnapshotInfo(one.name, one.created_ns / 1e9, one.logical_bytes, one.inodes, one.scheduled)
