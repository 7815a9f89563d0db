"""``python -m tests.benchmarks.compare``: the same work on several systems, in one run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import environment, report
from tests.benchmarks.backends import stop_backends
from tests.benchmarks.daemon import DAEMON_GROUPS, run_daemon
from tests.benchmarks.results import ROWS, Results
from tests.benchmarks.shared_systems import SHARED_SYSTEMS, SharedSystem
from tests.benchmarks.systems import SYSTEMS, System
from tests.benchmarks.webdav import WEBDAV_GROUPS, run_webdav
from tests.benchmarks.workloads import FULL, GROUPS, QUICK, SHARED_GROUPS, Sizes, incompressible

PROGRAMS = {"juicefs": "juicefs", "juicefs-pg": "juicefs", "seaweedfs": "weed"}
ALL_SYSTEMS: dict[str, type[System]] = SYSTEMS | SHARED_SYSTEMS
MOUNTED_GROUPS = GROUPS | SHARED_GROUPS
DEFAULT = ("juicefs", "graviton", "memory", *SHARED_SYSTEMS)


class Round:
    """One group on one system; what ``workloads.Bench`` asks for."""

    def __init__(self, system: System, results: Results, sizes: Sizes, cache: Path) -> None:
        self.directory = system.point
        self.cache = cache
        self.sizes = sizes
        self._system = system
        self._results = results

    def cold(self) -> None:
        self._system.cold()

    def unmount(self) -> None:
        self._system.unmount()

    def stored_bytes(self) -> int:
        return self._system.stored_bytes()

    def requests(self) -> int:
        assert isinstance(self._system, SharedSystem)
        return self._system.requests()

    def count(self, row: str, value: int) -> None:
        self._tell(row, value)

    def rate(self, row: str, count: float, seconds: float) -> None:
        self._tell(row, count / seconds)

    def seconds(self, row: str, seconds: float) -> None:
        self._tell(row, seconds)

    def growth(self, row: str, before: int, added: int) -> None:
        part = (self._system.stored_bytes() - before) / added
        self._results.add_growth(row, self._system.name, part)

    def _tell(self, row: str, value: float) -> None:
        self._results.add(row, self._system.name, value)
        print(f"  {self._system.name:10} {row:32} {report.number(value, ROWS[row].unit)}", flush=True)


def run_group(name: str, group: str, results: Results, sizes: Sizes, work: Path) -> None:
    system = ALL_SYSTEMS[name](work / name)
    try:
        system.prepare()
        system.mount()
        MOUNTED_GROUPS[group](Round(system, results, sizes, work))
        system.note_peak()
        system.unmount()
    except BaseException:
        print(system.log.read_text(errors="replace")[-4000:], file=sys.stderr)
        raise
    finally:
        results.add_process(name, system.peak, system.start_seconds)
        for other, peak in system.other_peaks.items():
            results.add_process(other, peak, [])
        system.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    groups = [*MOUNTED_GROUPS, *WEBDAV_GROUPS, *DAEMON_GROUPS]
    parser.add_argument("--only", action="append", choices=groups, help="a group of rows; may be repeated")
    parser.add_argument("--systems", default=",".join(DEFAULT), help="also seaweedfs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="little data, to try the rows")
    parser.add_argument("--dir", type=Path, help="where the volumes go; must be on a real disk")
    parser.add_argument("--json", type=Path, help="write all values there")
    parser.add_argument("--report", type=Path, help="default: docs/benchmarks.md after a full run")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("dropping the kernel's caches needs root")
    systems = options.systems.split(",")
    if unknown := set(systems) - ALL_SYSTEMS.keys():
        sys.exit(f"no system is called {min(unknown)}; there are {', '.join(sorted(ALL_SYSTEMS))}")
    groups = options.only or [*MOUNTED_GROUPS, *WEBDAV_GROUPS, *DAEMON_GROUPS]
    sizes = QUICK if options.quick else FULL
    environment.install({PROGRAMS[name] for name in systems if name in PROGRAMS} | {"rclone"})
    results = Results()
    incompressible(sizes.big)
    work = Path(tempfile.mkdtemp(prefix="graviton-bench-", dir=options.dir))
    try:
        for group in groups:
            for number in range(options.rounds):
                print(f"{group}, round {number + 1}", flush=True)
                if group in WEBDAV_GROUPS:
                    run_webdav(group, systems, results, sizes, work)
                    continue
                if group in DAEMON_GROUPS:
                    run_daemon(group, results, sizes, work)
                    continue
                for name in systems:
                    if group in GROUPS or name in SHARED_SYSTEMS:
                        run_group(name, group, results, sizes, work)
    finally:
        stop_backends()
        if options.json:
            results.save(options.json)
        shutil.rmtree(work, ignore_errors=True)
    complete = not options.only and not options.quick
    target = options.report or (environment.ROOT / "docs" / "benchmarks.md" if complete else None)
    if target:
        report.write(results, target)
        print(f"wrote {target}")


if __name__ == "__main__":
    main()
