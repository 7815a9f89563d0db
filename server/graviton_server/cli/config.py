"""graviton config."""

from __future__ import annotations

from typing import Any

import click

from graviton_server.cli import output
from graviton_server.cli.params import FILE


@click.group()
def config() -> None:
    """Check a configuration, or show what is in effect."""


@config.command()
@click.argument("file", type=FILE)
@output.json_option
def check(file: str, as_json: bool) -> None:
    """Check FILE as a whole, with the environment it would be used in.

    Every problem is named at once: its key, the line, and what was expected. Ends with 1 where there is
    any.
    """
    from graviton_server.config.document import ConfigProblems
    from graviton_server.config.load import load

    problems: list[str] = []
    warnings: tuple[str, ...] = ()
    try:
        warnings = load(file).warnings
    except ConfigProblems as error:
        problems = error.problems
    if as_json:
        output.print_json({"ok": not problems, "problems": problems, "warnings": warnings})
    else:
        for warning in warnings:
            output.say(f"warning: {warning}")
        for problem in problems:
            output.say(problem)
        if not problems:
            output.line(f"{file}: everything is in order")
    if problems:
        click.get_current_context().exit(1)


@config.command()
@click.argument("file", type=FILE, required=False)
@output.json_option
def show(file: str | None, as_json: bool) -> None:
    """Show every key with its value and where that comes from; secrets are hidden.

    Without FILE: GRAVITON_CONFIG, else /etc/graviton/graviton.conf, else the environment and defaults.
    """
    from graviton_server.config.load import load
    from graviton_server.config.show import settings

    found = settings(load(file))
    if as_json:
        output.print_json(_nested((key, value) for key, value, _ in found))
        return
    width = max(len(key) for key, _, _ in found)
    for key, value, source in found:
        output.line(f"{key.ljust(width)}  {_hocon(value)}  # {source}")


def _nested(found: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in found:
        *above, last = key.split(".")
        at = result
        for name in above:
            at = at.setdefault(name, {})
        at[last] = value
    return result


def _hocon(value: Any) -> str:
    import json

    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
