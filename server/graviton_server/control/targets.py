"""Handlers of targets: where packs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graviton_server.control import store_requests
from graviton_server.control.answers import ReplicationInfo, TargetInfo
from graviton_server.control.calls import Channel
from graviton_server.control.service import Service
from graviton_server.replication.shard import Claimant
from gravitonfs.errors import Invalid
from gravitonfs.ports.replicas import UNHEALTHY, CopyState

if TYPE_CHECKING:
    from graviton_server.wiring import Engine


class TargetAdmin:
    """The targets of an open store, for whoever may administer it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[TargetInfo]:
        from graviton_server.wiring.target_admin import reports

        return [
            TargetInfo(
                name=one.row.name,
                kind=one.row.kind,
                zone=one.row.zone,
                weight=one.row.weight,
                capacity=one.row.capacity or one.space.capacity,
                copies=one.row.copies,
                zones=one.row.zones,
                state=one.row.state.value,
                location=one.shown,
                packs=one.copies.get(CopyState.STORED, 0),
                bytes=one.bytes,
                missing=one.copies.get(CopyState.WANTED, 0),
                bad=one.copies.get(CopyState.BAD, 0),
                moving=one.copies.get(CopyState.MOVING, 0),
                leaving=one.copies.get(CopyState.LEAVING, 0),
                free=one.space.free,
                in_use=one.in_use,
                trouble=one.trouble,
            )
            for one in reports(self._engine)
        ]

    def one(self, name: str) -> TargetInfo:
        return next(one for one in self.all() if one.name == name)

    def add(self, request: store_requests.AddTarget) -> TargetInfo:
        from graviton_server.wiring.target_admin import add
        from graviton_server.wiring.targets import Location

        add(
            self._engine,
            request.name,
            request.kind,
            Location(**request.location),
            zone=request.zone,
            weight=request.weight,
            capacity=request.capacity,
            copies=request.copies,
            zones=request.zones,
        )
        return self.one(request.name)

    def change(self, request: store_requests.ChangeTarget) -> TargetInfo:
        from graviton_server.wiring import target_admin

        engine, name = self._engine, request.name
        target_admin.change(
            engine,
            name,
            zone=request.zone,
            weight=request.weight,
            capacity=request.capacity,
            copies=request.copies,
            zones=request.zones,
        )
        match request.state:
            case None:
                pass
            case "active":
                target_admin.activate(engine, name)
            case "draining":
                target_admin.drain(engine, name, force=request.force)
            case "removed":
                target_admin.remove(engine, name)
            case other:
                raise Invalid(f"{other!r} is no state of a target: active, draining or removed")
        if request.renew:
            target_admin.renew(engine, name)
        return self.one(name)


def handle_list(service: Service, request: store_requests.ListTargets, _: Channel) -> list[TargetInfo]:
    return TargetAdmin(service.engine).all()


def handle_add(service: Service, request: store_requests.AddTarget, _: Channel) -> TargetInfo:
    return TargetAdmin(service.engine).add(request)


def handle_change(service: Service, request: store_requests.ChangeTarget, _: Channel) -> TargetInfo:
    return TargetAdmin(service.engine).change(request)


def shard(service: Service) -> str | None:
    """None where the store is nobody's shard."""
    claim = service.engine.namespace_store.replicas.router()
    return Claimant.decode(claim).shard if claim else None


def replication(service: Service) -> ReplicationInfo | None:
    """None where the store has one target."""
    watch = service.engine.replication
    if watch is None:
        return None
    members = watch.target.members
    asked, possible, status, tally = members.wish_asked, members.wish(), watch.status(), watch.tally()
    return ReplicationInfo(
        factor=asked.factor,
        min_zones=asked.min_zones,
        possible_factor=possible.factor,
        possible_zones=possible.min_zones,
        unhealthy=sum(one.packs for one in tally if one.state in UNHEALTHY),
        moving=sum(one.packs for one in tally if one.state in (CopyState.MOVING, CopyState.LEAVING)),
        degraded_writes=watch.target.degraded_writes,
        hedged_reads=watch.target.hedging.hedged,
        hedges_won=watch.target.hedging.won,
        repairing=status.running,
        last_end=status.last_end,
        copies_made=status.made,
        copied_bytes=status.made_bytes,
        copies_removed=status.removed,
        failed=status.failed,
        error=status.error,
    )
