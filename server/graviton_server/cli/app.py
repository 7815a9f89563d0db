"""The group of all commands; a command's module is imported when the command is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import click

import gravitonfs


class Entry(NamedTuple):
    """A command: its module and attribute in it, and its line in the list of commands."""

    section: str
    where: str
    help: str


VOLUMES, FILES, REPORTS, UPKEEP, OTHER = (
    "Volumes and mounts",
    "Files (PATH: in a mount, or DATA:/path)",
    "What is going on",
    "Upkeep",
    "Other",
)

COMMANDS: dict[str, Entry] = {
    "init": Entry(VOLUMES, "init:init", "Create a volume in a directory."),
    "up": Entry(VOLUMES, "up:up", "Mount a volume and serve it over WebDAV, in one process."),
    "serve": Entry(VOLUMES, "serve:serve", "Serve volumes over HTTP: the daemon."),
    "mount": Entry(VOLUMES, "mount:mount", "Mount a volume; returns when the mount answers."),
    "umount": Entry(VOLUMES, "umount:umount", "Unmount; waits until everything is stored."),
    "mounter": Entry(VOLUMES, "mounter:mounter", "Mount for processes that may not."),
    "webdav": Entry(VOLUMES, "webdav:webdav", "Serve a volume over WebDAV alone."),
    "token": Entry(VOLUMES, "token:token", "Make, list and revoke tokens for programs and WebDAV."),
    "session": Entry(VOLUMES, "session:session", "List who uses a volume, and end sessions."),
    "snapshot": Entry(VOLUMES, "snapshot:snapshot", "Keep a volume as it is now, under a name."),
    "quota": Entry(VOLUMES, "quota:quota", "Limit how much may lie below a directory."),
    "passwd": Entry(VOLUMES, "passwd:passwd", "Set a WebDAV user's password."),
    "put": Entry(FILES, "put:put", "Copy files and trees into a volume; resumes."),
    "get": Entry(FILES, "get:get", "Copy files and trees out of a volume; resumes."),
    "cat": Entry(FILES, "files:cat", "Write files to standard output."),
    "ls": Entry(FILES, "listing:ls", "List directories."),
    "cp": Entry(FILES, "files:cp", "Copy inside a volume, at once and without moving bytes."),
    "mv": Entry(FILES, "files:mv", "Move or rename inside a volume."),
    "rm": Entry(FILES, "files:rm", "Remove files and trees."),
    "mkdir": Entry(FILES, "files:mkdir", "Create directories."),
    "restore": Entry(FILES, "restore:restore", "Bring back what was removed, or list it."),
    "stat": Entry(FILES, "listing:stat", "Show everything about a file."),
    "warmup": Entry(FILES, "files:warmup", "Read a path into the caches."),
    "info": Entry(REPORTS, "reports:info", "What a volume or a path holds, and what it takes to store."),
    "du": Entry(REPORTS, "reports:du", "Sizes of trees, with what deduplication leaves of them."),
    "status": Entry(REPORTS, "live:status", "What the process that has a volume open is doing."),
    "stats": Entry(REPORTS, "live:stats", "Rates, live."),
    "profile": Entry(REPORTS, "live:profile", "Which operations took the time."),
    "bench": Entry(REPORTS, "bench:bench", "Measure any directory: rates and percentiles."),
    "gc": Entry(UPKEEP, "upkeep:gc", "Give back the space of what was removed."),
    "fsck": Entry(UPKEEP, "upkeep:fsck", "Check a volume; names what is damaged."),
    "scrub": Entry(UPKEEP, "upkeep:scrub", "Read and verify all that is stored."),
    "target": Entry(UPKEEP, "target:target", "Places for packs: add, list, drain, remove, set."),
    "dump": Entry(UPKEEP, "dump:dump", "Write a backup of all names."),
    "load": Entry(UPKEEP, "load:load", "Make a volume from its packs and a dump."),
    "config": Entry(OTHER, "config:config", "Check a configuration, or show what is in effect."),
    "completion": Entry(OTHER, "completion:completion", "Print the completion script of a shell."),
}


class Commands(click.Group):
    """Lists commands by section without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.where.partition(":")
        command: Any = getattr(import_module(f"graviton_server.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in (VOLUMES, FILES, REPORTS, UPKEEP, OTHER):
            rows = [(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows, col_max=12)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found or super(click.Group, self).shell_complete(ctx, incomplete)


@click.group(
    cls=Commands,
    name="graviton",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gravitonfs.__version__, prog_name="graviton", message="%(prog)s %(version)s")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What goes to standard error (default: GRAVITON_LOG_LEVEL, else what suits the command).",
)
@click.option("--log-format", type=click.Choice(["human", "json"]), help="Logs for people or for programs.")
def cli(log_level: str | None, log_format: str | None) -> None:
    """A deduplicating, content-addressed file system on local disk.

    Start with 'graviton up --data DATA --mount DIR'.

    Exit status: 0 done, 1 the operation failed, 2 wrong usage, 3 fsck or scrub found damage.
    """
    ctx = click.get_current_context()
    if ctx.resilient_parsing:
        return
    from graviton_server import logs

    ctx.obj = (log_level, log_format)
    service = ctx.invoked_subcommand in ("up", "serve", "mount", "webdav")
    logs.setup(log_level or logs.level_from_environment() or ("info" if service else "warning"), log_format)
