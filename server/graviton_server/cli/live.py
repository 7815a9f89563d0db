"""graviton status, stats, profile: of the process that has the volume open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import owner, reach
from graviton_server.cli.params import DATA
from graviton_server.cli.places import source_of
from graviton_server.control.answers import Counters, Operation, Status
from graviton_server.control.client import RemoteCaller
from graviton_server.control.requests import GetCounters, GetStatus
from graviton_server.maintenance.reports import TaskStatus
from gravitonfs.core.units import format_size
from gravitonfs.errors import NotFound, Unavailable


@click.command()
@click.argument("source", metavar="DATA", type=DATA)
@output.json_option
def status(source: str, as_json: bool) -> None:
    """What serves a volume, and what its background work is doing."""
    data = source_of(source)
    with reach(data, "status") as caller:
        found = caller.call(GetStatus())
    served = found.pid != os.getpid()
    if as_json:
        output.print_json({"open": served} | msgspec.to_builtins(found))
    else:
        _print_status(found, served)


def _print_status(found: Status, served: bool) -> None:
    rows = [("data", found.data)]
    if served:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.started))
        rows.append(("process", f"{found.pid} (graviton {found.role}, since {since})"))
        for mount in found.mounts:
            what = " read-only" if mount.read_only else ""
            rows.append(("mount", f"{mount.path} (of {mount.subdir}{what})"))
        rows.append(("webdav", found.webdav or "off"))
        rows.append(("http", found.http or "off"))
        rows.append(("grpc", found.grpc or "off"))
        rows.append(("not stored yet", format_size(found.pending_bytes)))
    else:
        rows.append(("process", "none has it open"))
    rows += [
        (key.removesuffix("_bytes").replace("_", " "), format_size(value))
        for key, value in found.info.items()
        if key.endswith("_bytes")
    ]
    output.pairs(rows)
    if served and found.upkeep:
        output.line()
        titles = ("task", "state", "runs", "last end", "result")
        output.rows([titles, *map(_task_row, found.upkeep)], right=(2,))


def _task_row(task: TaskStatus) -> tuple[str, ...]:
    state = task.state
    if task.total:
        state += f" {100 * task.done // task.total} %"
    ended = time.strftime("%H:%M:%S", time.localtime(task.last_end)) if task.last_end else "never"
    return (task.name, state, str(task.runs), ended, task.error or task.last_result)


@contextmanager
def _serving(source: str) -> Iterator[RemoteCaller]:
    data = source_of(source)
    caller = owner(data) if data.is_dir() else None
    if caller is None:
        from graviton_server.wiring import is_volume

        if not is_volume(data):
            raise NotFound(f"{data} is no volume: make one with 'graviton init {data}'")
        raise Unavailable(f"no process has {data} open: only one that does has rates and times to tell")
    try:
        yield caller
    finally:
        caller.close()


@click.command()
@click.argument("source", metavar="DATA", type=DATA)
@click.option("-i", "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True,
              help="Seconds between two lines.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(1), help="Stop after so many lines.")
@output.json_option
def stats(source: str, interval: float, count: int | None, as_json: bool) -> None:
    """Rates of the process that has the volume open, line by line, until Ctrl-C."""
    with _serving(source) as caller, suppress(KeyboardInterrupt):
        _print_rates(caller, interval, count, as_json)


def _print_rates(caller: RemoteCaller, interval: float, count: int | None, as_json: bool) -> None:
    before = caller.call(GetCounters())
    shown = 0
    while count is None or shown < count:
        time.sleep(interval)
        now = caller.call(GetCounters())
        line = _rates(before, now)
        if as_json:
            output.line(msgspec.json.encode(line).decode())
        else:
            if shown % 20 == 0:
                output.line("".join(title.rjust(width) for title, width, _ in _COLUMNS))
            output.line("".join(_cell(line[key], key).rjust(width) for _, width, key in _COLUMNS))
        before = now
        shown += 1


_COLUMNS = (
    ("ops/s", 9, "operations"),
    ("errors/s", 9, "errors"),
    ("stored/s", 12, "stored_bytes"),
    ("read/s", 12, "read_bytes"),
    ("new blk/s", 10, "blocks_put"),
    ("dup blk/s", 10, "blocks_found"),
    ("syncs/s", 8, "syncs"),
    ("dirty", 11, "dirty_bytes"),
    ("cached", 11, "cached_bytes"),
    ("hits", 6, "hit_ratio"),
)
_LEVELS = ("dirty_bytes", "cached_bytes")


def _rates(before: Counters, now: Counters) -> dict[str, float | None]:
    """Per second; what is a level and not a total is told as it is."""
    seconds = max(now.time - before.time, 1e-6)
    grown = {key: value - before.values.get(key, 0) for key, value in now.values.items()}
    line: dict[str, float | None] = {key: round(value / seconds, 3) for key, value in grown.items()}
    for key in _LEVELS:
        line[key] = now.values[key]
    looked = grown["cache_hits"] + grown["cache_misses"]
    line["hit_ratio"] = round(grown["cache_hits"] / looked, 4) if looked else None
    return line


def _cell(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    if key.endswith("_bytes"):
        return format_size(value)
    return f"{100 * value:.0f}%" if key == "hit_ratio" else f"{value:,.0f}"


@click.command()
@click.argument("source", metavar="DATA", type=DATA)
@click.option("-s", "--seconds", type=click.FloatRange(0.1, 86400),
              help="Watch for so long, instead of telling of all since the process started.")  # fmt: skip
@output.json_option
def profile(source: str, seconds: float | None, as_json: bool) -> None:
    """Which operations of the front ends took the time, waiting included."""
    with _serving(source) as caller:
        earlier: dict[tuple[str, str], Operation] = {}
        if seconds is not None:
            earlier = {(o.front_end, o.name): o for o in caller.call(GetCounters()).operations}
            time.sleep(seconds)
        found = [_since(o, earlier.get((o.front_end, o.name))) for o in caller.call(GetCounters()).operations]
    found = sorted((o for o in found if o.count), key=lambda o: -o.seconds)
    if as_json:
        output.print_json([msgspec.to_builtins(o) | {"mean_ms": _mean(o)} for o in found])
        return
    whole = sum(o.seconds for o in found) or 1.0
    titles = ("operation", "count", "errors", "time", "share", "mean", "slowest")
    output.rows([titles, *(_profile_row(o, whole) for o in found)], right=(1, 2, 3, 4, 5, 6))


def _since(now: Operation, before: Operation | None) -> Operation:
    """``slowest`` stays the one since the start: there is no other."""
    if before is None:
        return now
    return msgspec.structs.replace(
        now,
        count=now.count - before.count,
        errors=now.errors - before.errors,
        seconds=now.seconds - before.seconds,
    )


def _mean(o: Operation) -> float:
    return round(1000 * o.seconds / o.count, 4)


def _profile_row(o: Operation, whole: float) -> tuple[str, ...]:
    return (
        f"{o.front_end} {o.name}",
        f"{o.count:,}",
        f"{o.errors:,}",
        f"{o.seconds:.3f} s",
        f"{100 * o.seconds / whole:.1f} %",
        f"{_mean(o):.3f} ms",
        f"{1000 * o.slowest:.1f} ms",
    )
