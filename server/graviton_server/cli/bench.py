"""graviton bench."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from graviton_server.cli import output
from graviton_server.cli.benchmark import Bench, Measure
from graviton_server.cli.params import DIRECTORY, SIZE
from gravitonfs.core.units import format_size
from gravitonfs.errors import NotADirectory, NotFound


@click.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--size", type=SIZE, default="256MiB", show_default=True, help="Of the large file.")
@click.option(
    "--files", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="Small files."
)
@click.option(
    "--ops", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="Random ones."
)
@output.json_option
def bench(directory: str, size: int, files: int, ops: int, as_json: bool) -> None:
    """Measure DIRECTORY, on any file system: rates and percentiles.

    Sequential write and read, random 4 KiB, small files, fsync. The bytes are random, so neither
    compression nor deduplication helps. Reads are cold only as far as the kernel lets this user drop
    its pages. All that was written is removed at the end.
    """
    if not os.path.lexists(directory):
        raise NotFound(f"{directory} does not exist: make the directory first")
    if not os.path.isdir(directory):
        raise NotADirectory(f"{directory} is no directory")
    if size < 1 << 20:
        raise click.UsageError("--size: the large file has at least 1 MiB")
    with tempfile.TemporaryDirectory(prefix=".graviton-bench-", dir=directory) as inner:
        run = Bench(Path(inner), size=size, files=files, ops=ops)
        with output.progress("measuring", "steps") as on_event:
            measures = run.run(on_event)
    if as_json:
        output.print_json({"directory": directory, "results": [_fields(measure) for measure in measures]})
        return
    titles = ("work", "rate", "p50", "p95", "p99", "max")
    output.rows([titles, *map(_row, measures)], right=(1, 2, 3, 4, 5))


def _fields(measure: Measure) -> dict[str, Any]:
    return {
        "work": measure.work,
        "operations": measure.count,
        "bytes": measure.bytes,
        "seconds": round(measure.seconds, 6),
        "per_second": round(measure.count / measure.seconds, 3),
        "bytes_per_second": round(measure.bytes / measure.seconds),
        "p50_ms": _ms(measure.percentile(50)),
        "p95_ms": _ms(measure.percentile(95)),
        "p99_ms": _ms(measure.percentile(99)),
        "max_ms": _ms(measure.percentile(100)),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)


def _row(measure: Measure) -> tuple[str, ...]:
    if measure.by_bytes:
        rate = f"{format_size(measure.bytes / measure.seconds)}/s"
    else:
        rate = f"{measure.count / measure.seconds:,.0f} /s"
    times = [f"{measure.percentile(p) * 1000:.3f} ms" for p in (50, 95, 99, 100)]
    return (measure.work, rate, *times)
