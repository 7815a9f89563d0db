"""graviton init."""

from __future__ import annotations

import click

from graviton_server.cli import output, places
from graviton_server.cli.params import DATA, SIZE


@click.command()
@click.argument("data", type=DATA)
@click.option("--block-min", type=SIZE, default="64KiB", show_default=True, help="Smallest block.")
@click.option("--block-average", type=SIZE, default="256KiB", show_default=True, help="Average block.")
@click.option("--block-max", type=SIZE, default="1MiB", show_default=True, help="Largest block.")
@click.option(
    "--compression-level", type=click.IntRange(1, 19), default=1, show_default=True, help="zstd level."
)
@click.option(
    "--max-file-size", type=SIZE, default="16TiB", show_default=True, help="Larger files are refused."
)
@output.json_option
def init(
    data: str,
    block_min: int,
    block_average: int,
    block_max: int,
    compression_level: int,
    max_file_size: int,
    as_json: bool,
) -> None:
    """Create an embedded volume in the directory DATA.

    The options are the volume's format, which cannot be changed later; the defaults suit most files.
    """
    from graviton_server.wiring import create_embedded
    from gravitonfs.core.format import VolumeFormat
    from gravitonfs.errors import Invalid

    fmt = VolumeFormat(
        block_min=block_min,
        block_average=block_average,
        block_max=block_max,
        compression_level=compression_level,
        max_file_size=max_file_size,
    )
    try:
        fmt.check()
    except Invalid as error:
        raise click.UsageError(str(error)) from error
    path = places.source(data)
    create_embedded(path, fmt)
    if as_json:
        output.print_json({"data": str(path), "volume": "main", "format": fmt})
    else:
        output.line(f"created a volume in {path}")
        output.line(f"mount it:  graviton mount {data} DIR")
