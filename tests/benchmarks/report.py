"""docs/benchmarks.md from the results."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.environment import versions
from tests.benchmarks.results import CEILING, ROWS, SHARED, SHARED_BASE, SHARED_TARGETS, Results
from tests.benchmarks.shared_systems import SHARED_SYSTEMS
from tests.benchmarks.systems import SYSTEMS

TITLES = {name: kind.title for name, kind in SYSTEMS.items()}
TITLES |= {
    "rclone": "rclone serve webdav",
    SHARED_BASE: "JuiceFS, PostgreSQL and S3",
    "direct": "Graviton, direct mount",
    "remote": "Graviton, remote mount",
    "daemon": "its daemon",
}
INTRODUCTION = """\
# Benchmarks

Written by `make bench` (`python -m tests.benchmarks.compare`): the same work on each system, one after the
other, in one run on one machine. Each value is the median of the rounds. A ratio over 1 means that Graviton
is better than the base (JuiceFS with SQLite and a local directory, or `rclone serve webdav` on a local
directory). Cold means: unmounted, the systems' own caches deleted, the kernel's caches dropped, mounted
again. The do-nothing pyfuse3 file system keeps everything in memory; it shows what the Python FUSE loop
allows, and for it cold drops only the kernel's caches. Every round has a volume of its own.
"""

SHARED_INTRODUCTION = """\
Names in one PostgreSQL (`fsync` and `synchronous_commit` on), data in one S3 server (SeaweedFS), all
processes on this machine; each round of each system has a database and a bucket of its own, everything has
its default options, one mount is attached. Direct: `graviton mount CONFIG DIR`, the mount is an engine
itself. Remote: `graviton mount graviton://...` through one `graviton serve`. Cold: unmounted, everything
local deleted (caches and Graviton's block index), the daemon restarted too, the kernel's caches dropped. The
S3 server counts requests and bytes; requests until the unmount has ended.
"""


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
    return f"{text} {unit}".strip()


_MET = {None: "-", True: "yes", False: "**no**"}


def _target(row: str, system: str = "graviton") -> str:
    kind, ratio = ROWS[row], Results.wanted(row, system)
    wanted = [f"{ratio:g}"] if ratio is not None else []
    if kind.at_most is not None:
        wanted.append(f"≤ {kind.at_most:g} {kind.unit}")
    return ", ".join(wanted)


def table(results: Results, rows: Sequence[str], systems: Sequence[str]) -> list[str]:
    lines = ["| work | " + " | ".join(TITLES[name] for name in systems) + " | ratio | at least | met |"]
    lines.append("| --- |" + " ---: |" * (len(systems) + 2) + " --- |")
    for row in rows:
        values = [number(results.median(row, name), ROWS[row].unit) for name in systems]
        ratio = number(results.ratio(row, "graviton"))
        met = _MET[results.met(row)]
        lines.append(f"| {row} | " + " | ".join(values) + f" | {ratio} | {_target(row)} | {met} |")
    return lines


def _shared_table(results: Results, rows: Sequence[str]) -> list[str]:
    head = "".join(f" {name} | ratio | at least | met |" for name in SHARED)
    lines = [f"| work | JuiceFS |{head}", "| --- | ---: |" + " ---: | ---: | ---: | --- |" * len(SHARED)]
    for row in rows:
        cells = [row, number(results.median(row, SHARED_BASE), ROWS[row].unit)]
        for name in SHARED:
            cells += [
                number(results.median(row, name), ROWS[row].unit),
                number(results.ratio(row, name)),
                _target(row, name),
                _MET[results.met(row, name)],
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ceiling(results: Results) -> list[str]:
    lines = [
        "| the daemon's own ceiling, GRAVITON_MEMORY=256MiB | through gRPC | boto3, straight to the server |",
        "| --- | ---: | ---: |",
    ]
    for what, found in results.ceiling.items():
        values = [statistics.median(found[n]) if n in found else None for n in ("daemon", "boto3")]
        lines.append(f"| {what} | {' | '.join(number(value, CEILING[what]) for value in values)} |")
    return lines


def _growth(results: Results, systems: Sequence[str], what: str) -> list[str]:
    lines = [f"| {what} | {' | '.join(TITLES[name] for name in systems)} | at most |"]
    lines.append("| --- |" + " ---: |" * (len(systems) + 1))
    for row, found in results.growth.items():
        shown = [f"{statistics.median(found[n]):.2%}" if n in found else "-" for n in systems]
        lines.append(f"| {row} | {' | '.join(shown)} | {ROWS[row].growth:.0%} |")
    return lines


def _processes(results: Results) -> list[str]:
    lines = ["| process | peak memory | start to mounted |", "| --- | ---: | ---: |"]
    for name, peak in results.peaks.items():
        starts = results.starts.get(name)
        start = f"{statistics.median(starts):.2f} s" if starts else "-"
        lines.append(f"| {TITLES[name]} | {peak / (1 << 20):,.0f} MiB | {start} |")
    return lines


def _machine() -> str:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{datetime.date.today():%Y-%m-%d}, {os.cpu_count()} cores ({model}), {memory:.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}, {', '.join(versions())}."
    )


def write(results: Results, path: Path) -> None:
    measured = {name for found in results.values.values() for name in found}
    fuse = [row for row in ROWS if set(results.values.get(row, ())) & SYSTEMS.keys()]
    shared = [row for row in SHARED_TARGETS if set(results.values.get(row, ())) & SHARED_SYSTEMS.keys()]
    dav = [row for row in ROWS if row in results.values and ROWS[row].base == "rclone"]
    fuse = [row for row in fuse if row not in dav]
    parts = [INTRODUCTION, _machine(), *results.notes, ""]
    if fuse:
        systems = [name for name in SYSTEMS if name in measured]
        growth = _growth(results, ("juicefs", "graviton"), "stored bytes grow by")
        parts += ["## Mounted", "", *table(results, fuse, systems), "", *growth, ""]
    if shared:
        growth = _growth(results, (SHARED_BASE, *SHARED), "bytes sent to S3, of those written")
        parts += [
            "## PostgreSQL and S3",
            "",
            SHARED_INTRODUCTION,
            *_shared_table(results, shared),
            "",
            *growth,
            "",
        ]
    if results.ceiling:
        parts += [*_ceiling(results), ""]
    if dav:
        parts += ["## WebDAV", "", *table(results, dav, ["rclone", "graviton"]), ""]
    parts += ["## Processes", "", *_processes(results), ""]
    path.write_text("\n".join(parts))
