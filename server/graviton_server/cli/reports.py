"""graviton info, du."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graviton_server.cli import output
from graviton_server.cli.opening import reach
from graviton_server.cli.params import PATH
from graviton_server.cli.places import Place, parse, place, source
from graviton_server.control.answers import Usage
from graviton_server.control.requests import Info, TreeUsage
from gravitonfs.core.units import format_size

_BYTES = "_bytes"


@click.command()
@click.argument("what", metavar="DATA|PATH", type=PATH)
@output.json_option
def info(what: str, as_json: bool) -> None:
    """What a volume (DATA) or a path in it holds, and what it takes to store it.

    Logical bytes are those of the files, unique ones those of their distinct blocks, stored ones what
    these take compressed.
    """
    where = parse(what)
    fields = _volume_info(source(what)) if where is None else _path_info(where)
    if as_json:
        output.print_json(fields)
    else:
        output.pairs(
            [(_title(key), _value(key, value)) for key, value in fields.items() if value is not None]
        )


def _volume_info(data: Path) -> dict[str, Any]:
    with reach(data, "info") as caller:
        fields = caller.call(Info())
    return {"data": str(data), **fields}


def _path_info(where: Place) -> dict[str, Any]:
    with reach(where.data, "info") as caller, output.progress("reading", "files") as on_event:
        usage = caller.call(TreeUsage(path=where.path), on_event=on_event)
    return {"path": where.shown} | _usage_fields(usage)


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "logical_bytes": usage.logical_bytes,
        "unique_bytes": usage.unique_bytes,
        "stored_bytes": usage.stored_bytes,
        "dedupe_ratio": _ratio(usage.logical_bytes, usage.unique_bytes),
        "compression_ratio": _ratio(usage.unique_bytes, usage.stored_bytes),
        "files": usage.files,
        "directories": usage.directories,
        "others": usage.others,
        "extents": usage.extents,
        "blocks": usage.blocks,
    }


def _ratio(before: int, after: int) -> float | None:
    return round(before / after, 3) if after else None


def _title(key: str) -> str:
    return key.removesuffix(_BYTES).replace("_", " ")


def _value(key: str, value: Any) -> str:
    if key.endswith(_BYTES):
        return f"{value} ({format_size(value)})"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option("-b", "--bytes", "exact", is_flag=True, help="In bytes.")
@output.json_option
def du(paths: tuple[str, ...], exact: bool, as_json: bool) -> None:
    """Sizes of trees, and of the distinct blocks in each.

    What several files share counts once in "unique".
    """
    found = []
    for where in [place(text) for text in paths]:
        with reach(where.data, "du") as caller, output.progress("reading", "files") as on_event:
            usage = caller.call(TreeUsage(path=where.path), on_event=on_event)
        found.append({"path": where.shown} | _usage_fields(usage))
    if as_json:
        output.print_json(found)
        return
    show = str if exact else format_size
    sizes = ("logical_bytes", "unique_bytes", "stored_bytes")
    lines = [(*(show(f[key]) for key in sizes), str(f["files"]), f["path"]) for f in found]
    output.rows([("logical", "unique", "stored", "files", "path"), *lines], right=(0, 1, 2, 3))
