"""Handlers of the work that keeps a volume in order."""

from __future__ import annotations

from graviton_server.control import requests
from graviton_server.control.calls import Channel
from graviton_server.control.service import Service
from graviton_server.control.wire import Event
from graviton_server.maintenance.reports import (
    Archived,
    Checked,
    Collected,
    DroppedDump,
    Dumped,
    KeptDump,
    Scrubbed,
)
from graviton_server.maintenance.work import Work


def _work(channel: Channel, *, bytes_per_second: int = 0) -> Work:
    """Progress goes to whoever asked; the work ends when nobody does any more."""

    def progress(done: int, total: int, what: str) -> None:
        channel.event(Event(done, total, what))

    return Work(progress, channel.cancelled, bytes_per_second=bytes_per_second)


def handle_collect(service: Service, request: requests.Collect, channel: Channel) -> Collected:
    return service.engine.maintenance.collect(
        _work(channel), dry_run=request.dry_run, empty_trash=request.empty_trash
    )


def handle_check(service: Service, request: requests.Check, channel: Channel) -> Checked:
    return service.engine.maintenance.check(
        _work(channel),
        read_data=request.read_data,
        rebuild_index=request.rebuild_index,
        repair=request.repair,
        after_restore=request.after_restore,
        agreed=request.agreed,
    )


def handle_scrub(service: Service, request: requests.Scrub, channel: Channel) -> Scrubbed:
    return service.engine.maintenance.scrub(_work(channel, bytes_per_second=request.bytes_per_second))


def handle_dump(service: Service, request: requests.Dump, channel: Channel) -> Dumped:
    return service.engine.maintenance.dump(channel.send, _work(channel))


def handle_keep_dump(service: Service, request: requests.KeepDump, channel: Channel) -> Dumped:
    return service.engine.maintenance.retain_dump(request.name, _work(channel))


def handle_back_up(service: Service, request: requests.BackUp, channel: Channel) -> Archived:
    return service.engine.maintenance.back_up(_work(channel))


def handle_list_dumps(service: Service, request: requests.ListDumps, channel: Channel) -> list[KeptDump]:
    return service.engine.maintenance.dumps()


def handle_drop_dump(service: Service, request: requests.DropDump, channel: Channel) -> DroppedDump:
    return service.engine.maintenance.drop_dump(
        request.name, request.owner, _work(channel), dry_run=request.dry_run
    )
