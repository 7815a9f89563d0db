"""graviton ls, stat."""

from __future__ import annotations

import os
import stat as modes
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from graviton_server.cli import output
from graviton_server.cli.opening import reach
from graviton_server.cli.params import PATH
from graviton_server.cli.places import Place, place
from graviton_server.control.answers import Node
from graviton_server.control.requests import ListNames, Stat, TreeUsage
from graviton_server.control.shown import name_fields
from gravitonfs.core.ids import BlobId
from gravitonfs.core.units import format_size

if TYPE_CHECKING:
    from graviton_server.control.calls import Caller

_KINDS = {
    modes.S_IFREG: "file",
    modes.S_IFDIR: "directory",
    modes.S_IFLNK: "symlink",
    modes.S_IFIFO: "fifo",
    modes.S_IFSOCK: "socket",
    modes.S_IFCHR: "character device",
    modes.S_IFBLK: "block device",
}


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option("-l", "--long", is_flag=True, help="With mode, links, owner, size and time.")
@click.option("-R", "--recursive", is_flag=True, help="Also what is in the directories found.")
@click.option("-d", "--directory", is_flag=True, help="Directories themselves, not what is in them.")
@output.json_option
def ls(paths: tuple[str, ...], long: bool, recursive: bool, directory: bool, as_json: bool) -> None:
    """List directories, in byte order."""
    shown: list[dict[str, Any]] = []
    for where in [place(text) for text in paths]:
        with reach(where.data, "ls") as caller:
            top = caller.call(Stat(path=where.path, follow=not directory))
            if not modes.S_ISDIR(top.mode) or directory:
                node = caller.call(Stat(path=where.path))
                found: Iterator[tuple[bytes, list[Node]]] = iter([(b"", [node])])
            else:
                found = _directories(caller, where, recursive)
            for at, nodes in found:
                if as_json:
                    shown += [_fields(node) | {"path": os.fsdecode(_join(at, node.name))} for node in nodes]
                    continue
                if recursive or len(paths) > 1:
                    output.line(f"{os.fsdecode(_join(os.fsencode(where.shown), at))}:")
                _print(nodes, long)
                if recursive or len(paths) > 1:
                    output.line()
    if as_json:
        output.print_json([_printable(entry) for entry in shown])


def _directories(caller: Caller, where: Place, recursive: bool) -> Iterator[tuple[bytes, list[Node]]]:
    waiting = [b""]
    while waiting:
        at = waiting.pop()
        nodes = list(names(caller, _join(where.path, at)))
        yield at, nodes
        if recursive:
            waiting += [_join(at, node.name) for node in reversed(nodes) if modes.S_ISDIR(node.mode)]


def names(caller: Caller, path: bytes, *, details: bool = False) -> Iterator[Node]:
    """All of a directory, page by page."""
    after: bytes | None = None
    while True:
        page = caller.call(ListNames(path=path, after=after, details=details))
        yield from page.nodes
        if not page.more:
            return
        after = page.nodes[-1].name


def _join(directory: bytes, name: bytes) -> bytes:
    if not directory or not name:
        return directory or name
    return directory.rstrip(b"/") + b"/" + name


def _printable(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.encode(errors="surrogateescape").decode(errors="replace")
        if isinstance(value, str)
        else value
        for key, value in entry.items()
    }


def _print(nodes: list[Node], long: bool) -> None:
    if not long:
        for node in nodes:
            output.line(output.show_name(node.name))
        return
    rows = [
        (
            modes.filemode(node.mode),
            str(node.nlink),
            str(node.uid),
            str(node.gid),
            _size(node),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(node.mtime_ns / 1e9)),
            _arrow(node),
        )
        for node in nodes
    ]
    if rows:
        output.rows(rows, right=(1, 2, 3, 4))


def _size(node: Node) -> str:
    if modes.S_ISCHR(node.mode) or modes.S_ISBLK(node.mode):
        return f"{os.major(node.rdev)}, {os.minor(node.rdev)}"
    return str(node.size)


def _arrow(node: Node) -> str:
    name = output.show_name(node.name)
    return name if node.target is None else f"{name} -> {output.show_name(node.target)}"


def _fields(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = name_fields(node.name)
    fields |= {
        "type": _KINDS.get(modes.S_IFMT(node.mode), "unknown"),
        "mode": f"{modes.S_IMODE(node.mode):04o}",
        "ino": node.ino,
        "nlink": node.nlink,
        "uid": node.uid,
        "gid": node.gid,
        "size": node.size,
        "atime_ns": node.atime_ns,
        "mtime_ns": node.mtime_ns,
        "ctime_ns": node.ctime_ns,
        "btime_ns": node.btime_ns,
    }
    if node.target is not None:
        fields |= name_fields(node.target, "target")
    if node.rdev:
        fields["rdev"] = [os.major(node.rdev), os.minor(node.rdev)]
    if node.digest is not None:
        fields["blob"] = str(BlobId(node.digest, node.size))
    return fields


@click.command()
@click.argument("paths", metavar="PATH...", type=PATH, nargs=-1, required=True)
@click.option("-L", "--dereference", is_flag=True, help="Of what a symlink points to.")
@output.json_option
def stat(paths: tuple[str, ...], dereference: bool, as_json: bool) -> None:
    """Show everything about files: attributes, times, digest, blocks, extended attributes."""
    shown = []
    for where in [place(text) for text in paths]:
        with reach(where.data, "stat") as caller:
            node = caller.call(Stat(path=where.path, follow=dereference, details=True))
            fields = _fields(node)
            if modes.S_ISREG(node.mode):
                usage = caller.call(TreeUsage(path=where.path))
                fields |= {
                    "extents": usage.extents,
                    "blocks": usage.blocks,
                    "stored_bytes": usage.stored_bytes,
                }
        fields["xattrs"] = {
            name.decode(errors="replace"): value.decode(errors="replace") for name, value in node.xattrs
        }
        shown.append({"path": where.shown} | fields)
        if not as_json:
            _print_node(where, node, fields)
    if as_json:
        output.print_json([_printable(fields) for fields in shown])


def _print_node(where: Place, node: Node, fields: dict[str, Any]) -> None:
    rows = [
        ("path", where.shown),
        ("type", str(fields["type"])),
        ("size", f"{node.size} ({format_size(node.size)})"),
        ("mode", f"{fields['mode']} ({modes.filemode(node.mode)})"),
        ("owner", f"{node.uid}:{node.gid}"),
        ("links", str(node.nlink)),
        ("inode", str(node.ino)),
    ]
    rows += [(what, _moment(fields[f"{what[0]}time_ns"])) for what in ("access", "modify", "change", "birth")]
    if node.target is not None:
        rows.append(("target", output.show_name(node.target)))
    if modes.S_ISREG(node.mode):
        rows.append(("blob", str(fields.get("blob", "none yet"))))
        rows.append(("blocks", f"{fields['blocks']} in {fields['extents']} extents"))
        rows.append(("stored", f"{fields['stored_bytes']} ({format_size(fields['stored_bytes'])})"))
    rows += [(f"xattr {name}", value) for name, value in fields["xattrs"].items()]
    output.pairs(rows)


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{rest:09d}"
