"""docs/benchmarks.md from the results."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.environment import versions
from tests.benchmarks.results import ROWS, Results
from tests.benchmarks.systems import SYSTEMS

TITLES = {name: kind.title for name, kind in SYSTEMS.items()} | {"rclone": "rclone serve webdav"}
INTRODUCTION = """\
# Benchmarks

Written by `make bench` (`python -m tests.benchmarks.compare`): the same work on each system, one after the
other, in one run on one machine. Each value is the median of the rounds. A ratio over 1 means that Graviton
is better than the base (JuiceFS with SQLite and a local directory, or `rclone serve webdav` on a local
directory). Cold means: unmounted, the systems' own caches deleted, the kernel's caches dropped, mounted
again. The do-nothing pyfuse3 file system keeps everything in memory; it shows what the Python FUSE loop
allows, and for it cold drops only the kernel's caches. Every round has a volume of its own.
"""


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
    return f"{text} {unit}".strip()


def _target(row: str) -> str:
    kind = ROWS[row]
    wanted = [f"{kind.ratio:g}"] if kind.ratio is not None else []
    if kind.at_most is not None:
        wanted.append(f"≤ {kind.at_most:g} {kind.unit}")
    return ", ".join(wanted)


def table(results: Results, rows: Sequence[str], systems: Sequence[str]) -> list[str]:
    lines = ["| work | " + " | ".join(TITLES[name] for name in systems) + " | ratio | at least | met |"]
    lines.append("| --- |" + " ---: |" * (len(systems) + 2) + " --- |")
    for row in rows:
        values = [number(results.median(row, name), ROWS[row].unit) for name in systems]
        met = {None: "-", True: "yes", False: "**no**"}[results.met(row)]
        ratio = number(results.ratio(row, "graviton"))
        lines.append(f"| {row} | " + " | ".join(values) + f" | {ratio} | {_target(row)} | {met} |")
    return lines


def _growth(results: Results) -> list[str]:
    lines = [f"| stored bytes grow by | {TITLES['juicefs']} | {TITLES['graviton']} | at most |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for row, found in results.growth.items():
        shown = [f"{statistics.median(found[n]):.2%}" if n in found else "-" for n in ("juicefs", "graviton")]
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
    fuse = [row for row in ROWS if row in results.values and ROWS[row].base == "juicefs"]
    dav = [row for row in ROWS if row in results.values and ROWS[row].base == "rclone"]
    measured = {name for found in results.values.values() for name in found}
    parts = [INTRODUCTION, _machine(), *results.notes, ""]
    if fuse:
        systems = [name for name in SYSTEMS if name in measured]
        parts += ["## Mounted", "", *table(results, fuse, systems), "", *_growth(results), ""]
    if dav:
        parts += ["## WebDAV", "", *table(results, dav, ["rclone", "graviton"]), ""]
    parts += ["## Processes", "", *_processes(results), ""]
    path.write_text("\n".join(parts))
