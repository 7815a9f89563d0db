"""graviton status, stats, profile: of the process that has the volume open."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
import msgspec

from graviton_server.cli import output
from graviton_server.cli.opening import owner, reach_source
from graviton_server.cli.params import DATA
from graviton_server.cli.places import mount_of, remote_mount, source_of
from graviton_server.control.answers import Counters, Operation, ReplicationInfo, Status
from graviton_server.control.requests import GetCounters, GetStatus
from graviton_server.maintenance.reports import BackupStatus, TaskStatus
from gravitonfs.core.units import format_size
from gravitonfs.errors import NotFound, Unavailable


@click.command()
@click.argument("source", metavar="SOURCE", type=DATA)
@output.json_option
def status(source: str, as_json: bool) -> None:
    """What serves a volume, and what its background work is doing."""
    with reach_source(source, "status") as caller:
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
    if found.shard is not None:
        rows.append(("shard", f"{found.shard}, of another store: its router says what is deleted"))
    rows += _copies(found.replication)
    rows += _backup(found.backup)
    output.pairs(rows)
    if served and found.upkeep:
        output.line()
        titles = ("task", "state", "runs", "last end", "result")
        output.rows([titles, *map(_task_row, found.upkeep)], right=(2,))


def _copies(found: ReplicationInfo | None) -> list[tuple[str, str]]:
    """How the copies stand, where there are several targets."""
    if found is None:
        return []
    asked = f"{found.factor} in {found.min_zones} zones"
    if (found.possible_factor, found.possible_zones) != (found.factor, found.min_zones):
        asked += f" asked for; the targets allow {found.possible_factor} in {found.possible_zones}"
    state = "running" if found.repairing else found.error or "idle"
    return [
        ("copies", asked),
        ("missing or bad", str(found.unhealthy)),
        ("moving", str(found.moving)),
        ("repair", f"{state}; {found.copies_made} made, {format_size(found.copied_bytes)}"),
    ]


def _backup(found: BackupStatus | None) -> list[tuple[str, str]]:
    """Dumps on the targets."""
    if found is None:
        return []
    if found.made is None:
        newest = "none yet"
    else:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.made))
        newest = f"{made}, {format_size(found.bytes)} ({format_size(found.new_bytes)} new)"
    if found.error:
        newest += f"; the last try failed: {found.error}"
    return [("newest dump", newest)]


def _task_row(task: TaskStatus) -> tuple[str, ...]:
    state = task.state
    if task.total:
        state += f" {100 * task.done // task.total} %"
    ended = time.strftime("%H:%M:%S", time.localtime(task.last_end)) if task.last_end else "never"
    return (task.name, state, str(task.runs), ended, task.error or task.last_result)


@contextmanager
def _serving(source: str) -> Iterator[Callable[[], Counters]]:
    """What the process behind a volume or a mount counts."""
    mountpoint = remote_mount(source)
    if mountpoint is not None:
        yield lambda: _counters_of_mount(mountpoint)
        return
    data = source_of(source)
    caller = owner(data) if data.is_dir() else None
    if caller is None:
        from graviton_server.wiring import is_volume

        if not is_volume(data):
            raise NotFound(f"{data} is no volume: make one with 'graviton init {data}'")
        raise Unavailable(f"no process has {data} open: only one that does has rates and times to tell")
    try:
        yield lambda: caller.call(GetCounters())
    finally:
        caller.close()


def _counters_of_mount(mountpoint: str) -> Counters:
    """The mount of a daemon's volume has no control socket; it tells them as an attribute of its root."""
    told = mount_of(mountpoint)
    if told is None or "counters" not in told:
        raise Unavailable(f"the mount at {mountpoint} does not tell its counters")
    return msgspec.convert(told["counters"], Counters)


@click.command()
@click.argument("source", metavar="DATA|PATH", type=DATA)
@click.option("-i", "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True,
              help="Seconds between two lines.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(1), help="Stop after so many lines.")
@output.json_option
def stats(source: str, interval: float, count: int | None, as_json: bool) -> None:
    """Rates of the process that has the volume open, line by line, until Ctrl-C.

    For a mount of a daemon's volume, or what is in it, those of the mount.
    """
    with _serving(source) as counters, suppress(KeyboardInterrupt):
        _print_rates(counters, interval, count, as_json)


def _print_rates(counters: Callable[[], Counters], interval: float, count: int | None, as_json: bool) -> None:
    before = counters()
    columns = _COLUMNS + (_DISK_COLUMNS if "disk_bytes" in before.values else ())
    shown = 0
    while count is None or shown < count:
        time.sleep(interval)
        now = counters()
        line = _rates(before, now)
        if as_json:
            output.line(msgspec.json.encode(line).decode())
        else:
            if shown % 20 == 0:
                output.line("".join(title.rjust(width) for title, width, _ in columns))
            output.line("".join(_cell(line[key], key).rjust(width) for _, width, key in columns))
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
_DISK_COLUMNS = (("on disk", 11, "disk_bytes"), ("hits", 6, "disk_hit_ratio"))
_LEVELS = ("dirty_bytes", "cached_bytes", "disk_bytes", "disk_blocks", "disk_limit")


def _rates(before: Counters, now: Counters) -> dict[str, float | None]:
    """Per second; what is a level and not a total is told as it is."""
    seconds = max(now.time - before.time, 1e-6)
    grown = {key: value - before.values.get(key, 0) for key, value in now.values.items()}
    line: dict[str, float | None] = {key: round(value / seconds, 3) for key, value in grown.items()}
    for key in _LEVELS:
        if key in now.values:
            line[key] = now.values[key]
    line["hit_ratio"] = _share(grown["cache_hits"], grown["cache_misses"])
    if "disk_hits" in grown:
        line["disk_hit_ratio"] = _share(grown["disk_hits"], grown["disk_misses"])
    return line


def _share(hits: float, misses: float) -> float | None:
    return round(hits / (hits + misses), 4) if hits + misses else None


def _cell(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    if key.endswith("_bytes"):
        return format_size(value)
    return f"{100 * value:.0f}%" if key.endswith("hit_ratio") else f"{value:,.0f}"


@click.command()
@click.argument("source", metavar="DATA|PATH", type=DATA)
@click.option("-s", "--seconds", type=click.FloatRange(0.1, 86400),
              help="Watch for so long, instead of telling of all since the process started.")  # fmt: skip
@output.json_option
def profile(source: str, seconds: float | None, as_json: bool) -> None:
    """Which operations of the front ends took the time, waiting included.

    For a mount of a daemon's volume, or what is in it, those of the mount.
    """
    with _serving(source) as counters:
        earlier: dict[tuple[str, str], Operation] = {}
        if seconds is not None:
            earlier = {(o.front_end, o.name): o for o in counters().operations}
            time.sleep(seconds)
        found = [_since(o, earlier.get((o.front_end, o.name))) for o in counters().operations]
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
