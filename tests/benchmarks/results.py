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
    def is_time(self) -> bool:
        return self.unit in ("s", "ms")


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
ROWS |= {f"{name}, with password": row for name, row in ROWS.items() if name.startswith("WebDAV")}


class Results:
    """Values by row and system; one value a round."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}
        self.growth: dict[str, dict[str, list[float]]] = {}
        self.peaks: dict[str, int] = {}
        self.starts: dict[str, list[float]] = {}
        self.notes: list[str] = []

    def add(self, row: str, system: str, value: float) -> None:
        self.values.setdefault(row, {}).setdefault(system, []).append(value)

    def add_growth(self, row: str, system: str, part: float) -> None:
        self.growth.setdefault(row, {}).setdefault(system, []).append(part)

    def add_process(self, system: str, peak: int, starts: list[float]) -> None:
        self.peaks[system] = max(self.peaks.get(system, 0), peak)
        self.starts.setdefault(system, []).extend(starts)

    def median(self, row: str, system: str) -> float | None:
        found = self.values.get(row, {}).get(system)
        return statistics.median(found) if found else None

    def ratio(self, row: str, system: str) -> float | None:
        """How many times better than the row's base; a time is better when it is smaller."""
        kind = ROWS[row]
        mine, base = self.median(row, system), self.median(row, kind.base)
        if not mine or not base:
            return None
        return base / mine if kind.is_time else mine / base

    def median_growth(self, row: str, system: str) -> float | None:
        found = self.growth.get(row, {}).get(system)
        return statistics.median(found) if found else None

    def met(self, row: str) -> bool | None:
        """Whether Graviton reaches the row's target; None where it was not measured."""
        kind = ROWS[row]
        ratio, value = self.ratio(row, "graviton"), self.median(row, "graviton")
        growth = self.median_growth(row, "graviton")
        if value is None or (kind.ratio is not None and ratio is None):
            return None
        return (
            (kind.ratio is None or (ratio or 0) >= kind.ratio)
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
