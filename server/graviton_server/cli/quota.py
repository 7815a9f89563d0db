"""graviton quota."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from graviton_server.cli import output, places
from graviton_server.cli.access import access
from graviton_server.cli.asking import ask
from graviton_server.cli.params import SIZE
from graviton_server.control.shown import name_fields
from graviton_server.control.store_requests import CheckQuotas, DeleteQuota, GetQuota, ListQuotas, SetQuota
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.core.units import format_size
from gravitonfs.errors import NotFound

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller
    from gravitonfs.client.administration import Administration, QuotaInfo

_volume = click.option("--volume", metavar="NAME", help="Of a store with several; default: main.")


class Where(NamedTuple):
    """``path`` None: none was given."""

    source: str
    path: bytes | None


@click.group()
def quota() -> None:
    """Limit how much may lie below a directory.

    SOURCE is the data directory of a volume, a configuration file, or graviton://HOST:PORT/VOLUME, with
    :/DIRECTORY behind it, or a path in a mount. The quota of / is the volume's. Sizes of files and inodes
    count for the nearest directory with a quota and for all above it; what would be too much is refused
    (EDQUOT).
    """


@quota.command("set")
@access
@click.option("--bytes", "max_bytes", type=SIZE, metavar="SIZE", help="So much, e.g. 10GiB; default: any.")
@click.option(
    "--inodes", "max_inodes", type=click.IntRange(min=0), metavar="N", help="Files and directories."
)
@_volume
@output.json_option
def set_(
    source: str,
    max_bytes: int | None,
    max_inodes: int | None,
    volume: str | None,
    as_json: bool,
    **options: Path | None,
) -> None:
    """Give a directory a quota, or other limits.

    What is there already is counted first, while work goes on. Less than what is there may be set: nothing
    more is taken then.
    """
    if max_bytes is None and max_inodes is None:
        raise click.UsageError("say how much: --bytes, --inodes or both")
    path = _where(source).path or b"/"
    made = _ask(
        source, volume, options,
        lambda caller, of: caller.call(
            SetQuota(volume=of, path=path, max_bytes=max_bytes, max_inodes=max_inodes)
        ),
        lambda daemon, of: _told(daemon.set_quota(path, max_bytes, max_inodes, of)),
    )  # fmt: skip
    _show([made], made, as_json)


@quota.command()
@access
@_volume
@output.json_option
def get(source: str, volume: str | None, as_json: bool, **options: Path | None) -> None:
    """Show a directory's quota, and what is used of it."""
    path = _where(source).path or b"/"

    def remote(daemon: Administration, of: str) -> dict[str, Any]:
        for one in daemon.quotas(of):
            if one.path == b"/" + path.strip(b"/"):
                return _told(one)
        raise NotFound("this directory has no quota: 'graviton quota list' tells which have")

    found = _ask(
        source, volume, options, lambda caller, of: caller.call(GetQuota(volume=of, path=path)), remote
    )
    _show([found], found, as_json)


@quota.command("list")
@access
@_volume
@output.json_option
def list_(source: str, volume: str | None, as_json: bool, **options: Path | None) -> None:
    """List the directories of a volume that have a quota."""
    found = _ask(
        source, volume, options,
        lambda caller, of: caller.call(ListQuotas(volume=of)),
        lambda daemon, of: [_told(one) for one in daemon.quotas(of)],
    )  # fmt: skip
    if not found and not as_json:
        output.say("there are no quotas")
    else:
        _show(found, found, as_json)


@quota.command()
@access
@_volume
def delete(source: str, volume: str | None, **options: Path | None) -> None:
    """Take a directory's limits away."""
    path = _where(source).path or b"/"
    _ask(
        source, volume, options,
        lambda caller, of: caller.call(DeleteQuota(volume=of, path=path)),
        lambda daemon, of: daemon.delete_quota(path, of),
    )  # fmt: skip
    output.say(f"{output.show_name(path)} has no quota any more")


@quota.command()
@access
@click.option("--repair", is_flag=True, help="Put right what is wrong.")
@_volume
@output.json_option
def check(source: str, repair: bool, volume: str | None, as_json: bool, **options: Path | None) -> None:
    """Count again what lies below directories with a quota: of one, or of all (SOURCE alone, or with :/).

    Work goes on meanwhile. Ends with status 1 where something is wrong and was not put right.
    """
    path = _where(source).path
    if path == b"/":
        path = None

    def remote(daemon: Administration, of: str) -> list[dict[str, Any]]:
        return [
            {
                "quota": _told(one.quota),
                "counted_bytes": one.bytes,
                "counted_inodes": one.inodes,
                "right": one.right,
                "repaired": one.repaired,
            }
            for one in daemon.check_quotas(path, repair=repair, volume=of)
        ]

    with output.progress("quota check", "quotas") as on_event:
        found = _ask(
            source, volume, options,
            lambda caller, of: caller.call(
                CheckQuotas(volume=of, path=path, repair=repair), on_event=on_event
            ),
            remote,
        )  # fmt: skip
    if as_json:
        output.print_json(found)
    else:
        _show_checked(found)
    if any(not one["right"] and not one["repaired"] for one in found):
        raise SystemExit(1)


def _show_checked(found: list[dict[str, Any]]) -> None:
    for one in found:
        kept = one["quota"]
        path = output.show_name(_bytes(kept))
        there = f"{format_size(one['counted_bytes'])} in {one['counted_inodes']} inodes"
        if one["right"]:
            output.say(f"{path}: {there}, as kept")
        else:
            kept_as = f"{format_size(kept['bytes'])} in {kept['inodes']} inodes"
            output.say(f"{path}: {there}, and {kept_as} were kept{': put right' * one['repaired']}")
    if not found:
        output.say("there are no quotas")


def _show(rows: list[dict[str, Any]], told: Any, as_json: bool) -> None:
    if as_json:
        output.print_json(told)
        return
    titles = ("directory", "used", "of", "inodes", "of", "")
    output.rows([titles] + [_row(one) for one in rows], right=(1, 2, 3, 4))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    size, inodes = one["max_bytes"], one["max_inodes"]
    return (
        output.show_name(_bytes(one)),
        format_size(one["bytes"]),
        "any" if size is None else format_size(size),
        str(one["inodes"]),
        "any" if inodes is None else str(inodes),
        "counting" if one["counting"] else "",
    )


def _bytes(one: dict[str, Any]) -> bytes:
    import base64

    exact = one.get("path_base64")
    return one["path"].encode() if exact is None else base64.b64decode(exact)


def _told(one: QuotaInfo) -> dict[str, Any]:
    """As the process that owns a volume tells it."""
    return {**name_fields(one.path, "path"), **dict(list(one._asdict().items())[1:])}


def _where(text: str) -> Where:
    """What follows ``:/``, or the place in a mount that a path is."""
    if places.is_remote(text):
        scheme, _, rest = text.partition("://")
        source, separator, path = rest.partition(":/")
        if separator and "/" in source:
            return Where(f"{scheme}://{source}", b"/" + os.fsencode(path))
        _, _, inside = Endpoint.parse(text)
        return Where(text, b"/" + os.fsencode(inside) if inside else None)
    mountpoint = places.remote_mount(text)
    if mountpoint is not None and (told := places.mount_of(mountpoint)) is not None:
        below = os.path.relpath(os.path.realpath(text), mountpoint)
        inner = os.path.normpath(os.path.join("/", str(told.get("subdir", "")), below))
        return Where(str(told["source"]), os.fsencode(inner))
    source, separator, path = text.partition(":/")
    if separator and Path(source).is_file():
        return Where(source, b"/" + os.fsencode(path))
    found = places.parse(text) if not Path(text).is_file() else None
    return Where(text, None) if found is None else Where(str(found.data), found.path)


def _ask(
    text: str,
    volume: str | None,
    options: dict[str, Path | None],
    owner: Callable[[Caller, str], Any],
    remote: Callable[[Administration, str], Any],
) -> Any:
    return ask("quota", _where(text).source, volume, options, owner, remote)
