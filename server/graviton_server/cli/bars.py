"""Progress bars on a terminal (rich is imported here only)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from graviton_server.control.wire import Event


@contextmanager
def bar(title: str, unit: str) -> Iterator[Callable[[Event], None]]:
    """Events move the bar; it goes away at the end, the command's result says what was done."""
    amounts: list[ProgressColumn]
    if unit == "bytes":
        amounts = [DownloadColumn(binary_units=True), TransferSpeedColumn()]
    else:
        amounts = [MofNCompleteColumn(), TextColumn(unit)]
    console = Console(stderr=True)
    title_column = TextColumn("{task.description}", markup=False)
    columns = [title_column, BarColumn(), TaskProgressColumn(), *amounts, TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(title, total=None)

        def on_event(event: Event) -> None:
            shown.update(task, completed=event.done, total=event.total or None)
            if event.what:
                shown.update(task, description=f"{title}: {event.what}")

        yield on_event
