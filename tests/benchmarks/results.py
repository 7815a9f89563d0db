"""What was measured, and what a row is."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A row of the report. ``ratio``: at least this much better than ``base`` (None: only told)."""

    unit: str
    ratio: float | None
    base: str = "juicefs"
    growth: float | None = None
    at_most: float | None = None

    @property
    def is_cost(self) -> bool:
        """Less is better."""
        return self.unit in ("s", "ms", "")


SHARED_BASE = "juicefs-pg"

ROWS: dict[str, Row] = {
    "sequential write": Row("MB/s", 1.0),
    "same bytes again": Row("MB/s", 1.0, growth=0.01),
    "shifted by 7": Row("MB/s", 1.1, growth=0.05),
    "sequential read, cold": Row("MB/s", 1.0),
    "4 parallel writers": Row("MB/s", 0.7),
    "random 4 KiB read, cold": Row("/s", 1.0),
    "random 4 KiB write + fsync": Row("/s", 1.5),
    "create 4 KiB files": Row("/s", 2.5),
    "create 4 KiB files, fsync each": Row("/s", 1.5),
    "stat all, cold": Row("/s", 1.8),
    "list with attributes, cold": Row("/s", 1.5),
    "read 4 KiB files, cold": Row("/s", 1.8),
    "rename": Row("/s", 3.0),
    "unlink": Row("/s", 3.0),
    "untar a source tree": Row("s", 2.3),
    "cp -r of it": Row("s", 1.7),
    "git init, add, commit": Row("s", 2.0),
    "SQLite transactions": Row("/s", 2.5),
    "WebDAV PUT, one big file": Row("MB/s", 1.0, "rclone"),
    "WebDAV GET, one big file": Row("MB/s", 0.5, "rclone"),
    "WebDAV PROPFIND of 1,000": Row("ms", 0.7, "rclone"),
    "WebDAV PROPFIND of 10,000": Row("ms", 0.7, "rclone"),
    "WebDAV PUT of 4 KiB files": Row("/s", 0.7, "rclone"),
    "WebDAV GET of 4 KiB files": Row("/s", 0.4, "rclone"),
    "WebDAV COPY, one big file": Row("ms", None, "rclone", at_most=20.0),
}
REQUESTS = ("S3 requests, 4 KiB files, 1 writer", "S3 requests, 4 KiB files, 8 writers")
ROWS |= {name: Row("", None, SHARED_BASE) for name in REQUESTS}
ROWS |= {f"{name}, with password": row for name, row in ROWS.items() if name.startswith("WebDAV")}


SHARED_TARGETS: dict[str, tuple[float | None, float | None]] = {
    "sequential write": (1.0, 0.9),
    "same bytes again": (3.0, 3.0),
    "shifted by 7": (None, None),
    "sequential read, cold": (0.9, 0.6),
    "4 parallel writers": (None, None),
    "random 4 KiB read, cold": (1.0, 0.7),
    "random 4 KiB write + fsync": (3.0, 2.0),
    "create 4 KiB files": (3.0, 2.0),
    "create 4 KiB files, fsync each": (2.5, 1.7),
    "read 4 KiB files, cold": (2.0, 1.5),
    "stat all, cold": (1.5, 1.0),
    "list with attributes, cold": (2.0, 2.0),
    "rename": (2.0, 1.4),
    "unlink": (3.0, 2.0),
    "untar a source tree": (2.5, 1.7),
    "cp -r of it": (None, None),
    "git init, add, commit": (2.0, 1.5),
    "SQLite transactions": (4.0, 2.5),
} | dict.fromkeys(REQUESTS, (100.0, 100.0))
"""With PostgreSQL and S3: how much better than JuiceFS there the direct and the remote mount must be."""
SHARED = ("direct", "remote")

CONCURRENT = 100
CEILING = {
    "blob upload, 4 at a time": "MB/s",
    "blob download, 4 at a time": "MB/s",
    "calls, 1 at a time": "/s",
    "calls, 8 at a time": "/s",
    "memory of the idle daemon": "MiB",
    f"memory under {CONCURRENT} concurrent uploads": "MiB",
}
"""What is told of a daemon by itself, and the units."""


class Results:
    """Values by row and system; one value a round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}
        self.growth: dict[str, dict[str, list[float]]] = {}
        self.peaks: dict[str, int] = {}
        self.starts: dict[str, list[float]] = {}
        self.notes: list[str] = []
        self.ceiling: dict[str, dict[str, list[float]]] = {}
        """What a daemon does at most: by what is measured and through what."""

    def add(self, row: str, system: str, value: float) -> None:
        self.values.setdefault(row, {}).setdefault(system, []).append(value)

    def add_growth(self, row: str, system: str, part: float) -> None:
        self.growth.setdefault(row, {}).setdefault(system, []).append(part)

    def add_ceiling(self, what: str, through: str, value: float) -> None:
        self.ceiling.setdefault(what, {}).setdefault(through, []).append(value)

    def add_process(self, system: str, peak: int, starts: list[float]) -> None:
        self.peaks[system] = max(self.peaks.get(system, 0), peak)
        self.starts.setdefault(system, []).extend(starts)

    def median(self, row: str, system: str) -> float | None:
        found = self.values.get(row, {}).get(system)
        return statistics.median(found) if found else None

    @staticmethod
    def base(row: str, system: str) -> str:
        """What the system is compared with."""
        return SHARED_BASE if system in SHARED else ROWS[row].base

    @staticmethod
    def wanted(row: str, system: str) -> float | None:
        """The ratio that is asked for."""
        return SHARED_TARGETS[row][SHARED.index(system)] if system in SHARED else ROWS[row].ratio

    def ratio(self, row: str, system: str) -> float | None:
        """How many times better than the base; a time or a count is better when it is smaller."""
        mine, base = self.median(row, system), self.median(row, self.base(row, system))
        if mine == 0 and not ROWS[row].unit:
            mine = 1  # none at all counts as one
        if not mine or not base:
            return None
        return base / mine if ROWS[row].is_cost else mine / base

    def median_growth(self, row: str, system: str) -> float | None:
        found = self.growth.get(row, {}).get(system)
        return statistics.median(found) if found else None

    def met(self, row: str, system: str = "graviton") -> bool | None:
        """Whether the system reaches the row's target; None where it was not measured or nothing is asked."""
        kind, wanted = ROWS[row], self.wanted(row, system)
        ratio, value = self.ratio(row, system), self.median(row, system)
        growth = self.median_growth(row, system)
        if value is None or (wanted is None and kind.at_most is None) or (wanted and ratio is None):
            return None
        return (
            (wanted is None or (ratio or 0) >= wanted)
            and (kind.at_most is None or value <= kind.at_most)
            and (kind.growth is None or (growth is not None and growth <= kind.growth))
        )

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.__dict__, indent=1))

    @classmethod
    def load(cls, path: Path) -> Results:
        found = cls()
        found.__dict__.update(json.loads(path.read_text()))
        return found
