"""AdminService: sessions, volumes, snapshots, quotas, targets, jobs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from graviton_server.control.quotas import QuotaAdmin
from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.calls import Call
from graviton_server.grpc_api.principals import READ, WRITE, Anyone
from graviton_server.grpc_api.session_table import SessionTable
from graviton_server.grpc_api.target_calls import TargetCalls
from graviton_server.maintenance.work import Work
from gravitonfs.content.pool import VolumePool
from gravitonfs.core.ids import ROOT_INO
from gravitonfs.errors import GravitonError, Internal, Invalid, NotEmpty, NotFound, NotPermitted
from gravitonfs.ports.quotas import QuotaRow
from gravitonfs.ports.store import SessionRow, SnapshotRow, VolumeRow
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

_LOOK: Final = 0.5
_EVENTS: Final = 64
MAIN: Final = "main"

Job = Callable[[Work, pb.RunJobRequest], object]


class AdminService(TargetCalls):
    def __init__(self, backend: Backend, table: SessionTable, pool: VolumePool) -> None:
        self._backend = backend
        self._table = table
        self._pool = pool
        self._jobs: dict[str, Job] = {
            "gc": lambda work, wanted: backend.maintenance.collect(
                work, dry_run=wanted.dry_run, empty_trash=wanted.empty_trash
            ),
            "scrub": lambda work, _: backend.maintenance.scrub(work),
            "fsck": lambda work, _: backend.maintenance.check(work),
        }

    def who_am_i(self, request: pb.WhoAmIRequest, call: Call) -> pb.WhoAmIReply:
        caller, volume = call.principal, request.volume or "main"
        return pb.WhoAmIReply(
            name=caller.name,
            judged=not isinstance(caller, Anyone),
            read=caller.allows(READ, volume),
            write=caller.allows(WRITE, volume),
        )

    # --- sessions ------------------------------------------------------------------------------------

    def list_sessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsReply:
        call.may_administer()
        rows = [row for row in self._table.rows() if request.volume in ("", row.volume)]
        return pb.ListSessionsReply(sessions=[self._session(row, call) for row in rows])

    def _session(self, row: SessionRow, call: Call) -> pb.Session:
        shown = pb.Session(
            number=row.number,
            volume=row.volume,
            label=row.label,
            read_only=row.read_only,
            remote=row.leased,
            attached=row.attached,
            last_batch=row.last,
            holds=row.holds,
        )
        remote = self._table.remote(row.number)
        if remote is not None:
            shown.idle_seconds = max(0.0, call.started - remote.last_heard)
            shown.principal = remote.principal
        return shown

    def evict_session(self, request: pb.EvictSessionRequest, call: Call) -> pb.EvictSessionReply:
        call.may_administer()
        self._table.evict(request.number)
        self._pool.drop(request.number)
        return pb.EvictSessionReply()

    # --- volumes -------------------------------------------------------------------------------------

    def list_volumes(self, request: pb.ListVolumesRequest, call: Call) -> pb.ListVolumesReply:
        """Those that the caller may read."""
        rows = [
            row for row in self._backend.sessions.volume_rows() if call.principal.allows("read", row.name)
        ]
        return pb.ListVolumesReply(volumes=[_volume(row) for row in rows])

    def create_volume(self, request: pb.CreateVolumeRequest, call: Call) -> pb.Volume:
        call.may_administer()
        return _volume(self._backend.sessions.create_volume(request.name))

    def delete_volume(self, request: pb.DeleteVolumeRequest, call: Call) -> pb.DeleteVolumeReply:
        call.may_administer()
        name = request.name
        found = {row.name: row for row in self._backend.sessions.volume_rows()}.get(name)
        if found is None:
            raise NotFound(f"there is no volume {name!r}")
        if found.root == ROOT_INO:
            raise NotPermitted(f"the volume {name!r} cannot be removed, only emptied")
        if found.inodes > 1 and not request.force:
            raise NotEmpty(f"the volume {name!r} has {found.inodes - 1} files and directories: use 'force'")
        self._pool.let_go_of(name)
        if request.evict:
            for row in self._table.rows():
                if row.volume == name and row.leased:
                    self._table.evict(row.number)
        self._backend.sessions.delete_volume(name)
        return pb.DeleteVolumeReply()

    # --- snapshots -----------------------------------------------------------------------------------

    def create_snapshot(self, request: pb.CreateSnapshotRequest, call: Call) -> pb.Snapshot:
        call.may_administer()
        return _snapshot(self._backend.sessions.create_snapshot(request.volume or MAIN, request.name))

    def list_snapshots(self, request: pb.ListSnapshotsRequest, call: Call) -> pb.ListSnapshotsReply:
        volume = request.volume or MAIN
        call.may_read(volume)
        rows = self._backend.sessions.snapshot_rows(volume)
        return pb.ListSnapshotsReply(snapshots=[_snapshot(row) for row in rows])

    def delete_snapshot(self, request: pb.DeleteSnapshotRequest, call: Call) -> pb.DeleteSnapshotReply:
        call.may_administer()
        self._backend.sessions.delete_snapshot(request.volume or MAIN, request.name)
        return pb.DeleteSnapshotReply()

    # --- quotas --------------------------------------------------------------------------------------

    def list_quotas(self, request: pb.ListQuotasRequest, call: Call) -> pb.ListQuotasReply:
        volume = request.volume or MAIN
        call.may_read(volume)
        with self._quotas(volume) as admin:
            return pb.ListQuotasReply(quotas=[_quota(*one) for one in admin.all()])

    def set_quota(self, request: pb.SetQuotaRequest, call: Call) -> pb.Quota:
        call.may_administer()
        limits = (
            request.max_bytes if request.HasField("max_bytes") else None,
            request.max_inodes if request.HasField("max_inodes") else None,
        )
        with self._quotas(request.volume or MAIN) as admin:
            return _quota(*admin.set(request.path, *limits))

    def delete_quota(self, request: pb.DeleteQuotaRequest, call: Call) -> pb.DeleteQuotaReply:
        call.may_administer()
        with self._quotas(request.volume or MAIN) as admin:
            admin.delete(request.path)
        return pb.DeleteQuotaReply()

    def check_quotas(self, request: pb.CheckQuotasRequest, call: Call) -> pb.CheckQuotasReply:
        call.may_administer()
        path = request.path if request.HasField("path") else None
        with self._quotas(request.volume or MAIN) as admin:
            checked = admin.check(path, repair=request.repair)
        return pb.CheckQuotasReply(
            quotas=[
                pb.CheckedQuota(
                    quota=_quota(where, one.row), bytes=one.bytes, inodes=one.inodes, repaired=one.repaired
                )
                for where, one in checked
            ]
        )

    @contextmanager
    def _quotas(self, name: str) -> Iterator[QuotaAdmin]:
        with self._pool.volume(name) as volume:
            yield QuotaAdmin(self._backend.sessions.quotas, volume.namespace)

    # --- jobs ----------------------------------------------------------------------------------------

    def list_jobs(self, request: pb.ListJobsRequest, call: Call) -> pb.ListJobsReply:
        call.may_administer()
        return pb.ListJobsReply(
            jobs=[
                pb.Job(
                    name=status.name,
                    state=status.state,
                    runs=status.runs,
                    last_result=status.last_result,
                    error=status.error,
                    done=status.done,
                    total=status.total,
                    what=status.what,
                )
                for status in self._backend.maintenance.status()
            ]
        )

    def run_job(self, request: pb.RunJobRequest, call: Call) -> Iterator[pb.JobEvent]:
        """The work has a thread of its own; it stops when nobody waits for its end any more."""
        call.may_administer()
        job = self._jobs.get(request.name)
        if job is None:
            raise Invalid(f"there is no job {request.name!r}: {', '.join(self._jobs)}")
        if request.dry_run and request.name != "gc":
            raise Invalid("a dry run is for gc: the others change nothing")
        if request.empty_trash and request.name != "gc":
            raise Invalid("empty_trash is for gc: the others erase nothing")
        events: queue.Queue[pb.JobEvent | GravitonError | None] = queue.Queue(_EVENTS)
        cancelled = threading.Event()

        def progress(done: int, total: int, what: str) -> None:
            try:
                events.put_nowait(pb.JobEvent(what=what, done=done, of=total))
            except queue.Full:
                pass  # whoever reads slowly sees fewer steps

        def run() -> None:
            try:
                report = job(Work(progress, cancelled), request)
                events.put(pb.JobEvent(report=msgspec.json.encode(report).decode()))
                events.put(None)
            except GravitonError as error:
                events.put(error)
            except Exception as error:  # noqa: BLE001  # told to whoever asked for the job
                events.put(Internal(f"the job failed: {error!r}"))

        thread = threading.Thread(target=run, name=f"job-{request.name}", daemon=True)
        thread.start()
        try:
            yield from self._events(events, call)
        finally:
            cancelled.set()

    @staticmethod
    def _events(events: queue.Queue[pb.JobEvent | GravitonError | None], call: Call) -> Iterator[pb.JobEvent]:
        while call.active:
            try:
                event = events.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if event is None:
                return
            if isinstance(event, GravitonError):
                raise event
            yield event


def _volume(row: VolumeRow) -> pb.Volume:
    return pb.Volume(name=row.name, root=row.root, logical_bytes=row.logical_bytes, inodes=row.inodes)


def _snapshot(row: SnapshotRow) -> pb.Snapshot:
    return pb.Snapshot(
        name=row.name,
        created_ns=row.created_ns,
        logical_bytes=row.logical_bytes,
        inodes=row.inodes,
        scheduled=row.scheduled,
    )


def _quota(path: bytes, row: QuotaRow) -> pb.Quota:
    return pb.Quota(
        path=path,
        max_bytes=row.max_bytes,
        max_inodes=row.max_inodes,
        bytes=row.bytes,
        inodes=row.inodes,
        counting=row.counting,
    )
