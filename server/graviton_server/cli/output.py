"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import Buffer

if TYPE_CHECKING:
    from graviton_server.control.wire import Event

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

OnEvent = Callable[["Event"], None]


def say(text: str) -> None:
    """A remark for the person at the terminal."""
    sys.stderr.buffer.write(f"graviton: {text}\n".encode("utf-8", "backslashreplace"))
    sys.stderr.flush()


def line(text: str = "") -> None:
    """A line of result; names that are no UTF-8 come out as the bytes they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    sys.stdout.buffer.flush()


def write(data: Buffer) -> None:
    """Bytes as they are."""
    sys.stdout.buffer.write(data)


def print_json(value: Any) -> None:
    import msgspec

    encoded = msgspec.json.encode(value, enc_hook=str)
    line((msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded).decode())


def show_name(name: bytes) -> str:
    """For a terminal: control characters would do things to it, so they are shown as escapes there."""
    text = os.fsdecode(name)
    if sys.stdout.isatty():
        text = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return text


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def rows(cells: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns; plain enough for awk. The first row may be headings."""
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    for row in cells:
        parts = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line("  ".join(parts).rstrip())


def pairs(values: Sequence[tuple[str, str]]) -> None:
    """``name  value`` a line."""
    width = max(len(name) for name, _ in values)
    for name, value in values:
        line(f"{name.ljust(width)}  {value}")


@contextmanager
def progress(title: str, unit: str = "bytes") -> Iterator[OnEvent]:
    """A bar with rate and time left while standard error is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield _nothing
        return
    from graviton_server.cli.bars import bar

    with bar(title, unit) as on_event:
        yield on_event


def _nothing(event: Event) -> None:
    pass
