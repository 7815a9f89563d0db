"""Writes docs/cli.md from the commands themselves: ``python -m graviton_server.cli.manual > docs/cli.md``."""

from __future__ import annotations

import re
import sys

import click

from graviton_server.cli.app import COMMANDS, cli

PREFACE = """\
# The command line

This page is made from the commands' own help; `graviton COMMAND --help` shows the same.

**DATA** is the directory of a volume. **PATH** is a path in a volume: `DATA:/path`, or a path inside a
mount. Where a command takes DATA to report on, a path inside its mount does as well.

**One process at a time has a volume open.** A command that finds it open works through that process, over
a socket in DATA that only the same user (and root) may use; otherwise it opens the volume for as long as it
runs. Only `up`, `mount` and `webdav` need the volume for themselves, and name the process that has it.

**Output.** Results go to standard output, with `--json` for programs (one document, or one a line from
`stats`). Everything else goes to standard error: errors as one sentence that says what to do, logs, and
progress bars where it is a terminal. Names in JSON are text; where a name is no UTF-8, `name_base64` has
its bytes. `up`, `mount -f` and `webdav` print a line that begins with `ready` once everything answers.

**Exit status.** 0 done, 1 the operation failed, 2 wrong usage, 3 `fsck` or `scrub` found damage; 130 after
Ctrl-C, except that `up`, `mount -f` and `webdav` then store everything and end with 0.

**Environment.** `GRAVITON_LOG_LEVEL` (debug, info, warning, error), `GRAVITON_MEMORY` (the sum of all
budgets, such as 512MiB; by default 512 MiB, or half the control group's limit where that is less),
`GRAVITON_ENV=production` (logs as JSON).

**Sizes** are numbers with B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024);
a lone K, M, G or T is binary.
"""


def render() -> str:
    """The whole page."""
    parent = click.Context(cli, info_name="graviton", **cli.context_settings)
    parts = [PREFACE]
    for name, entry in COMMANDS.items():
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        parts.append(f"## graviton {name}\n\n{entry.help}\n\n```text\n{_help(command, context)}\n```\n")
        if isinstance(command, click.Group):
            for below, one in command.commands.items():
                inner = click.Context(one, info_name=below, parent=context, terminal_width=100)
                parts.append(f"### graviton {name} {below}\n\n```text\n{_help(one, inner)}\n```\n")
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return re.sub(r"[ \t]+$", "", command.get_help(context), flags=re.MULTILINE)


if __name__ == "__main__":
    sys.stdout.write(render())
