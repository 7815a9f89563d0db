"""Handlers that read and change names."""

from __future__ import annotations

import stat

from graviton_server.control import requests
from graviton_server.control.answers import Node, Page
from graviton_server.control.calls import Channel
from graviton_server.control.paths import Spot, directory, existing, free, locate, show, split
from graviton_server.control.service import Service
from gravitonfs.content.volume import Volume
from gravitonfs.errors import Exists, Invalid, IsADirectory, NotFound
from gravitonfs.ports.namespace import ContentKind, Namespace
from gravitonfs.ports.ops import (
    Attr,
    Clone,
    Create,
    RemoveTree,
    Rename,
    RenameMode,
    Unlink,
)

_PAGE_BYTES = 4 << 20
"""Of extended attributes in one answer: a message has a limit."""


def node_of(
    namespace: Namespace, name: bytes, attr: Attr, *, details: bool, digest: bytes | None = None
) -> Node:
    target = namespace.readlink(attr.ino) if stat.S_ISLNK(attr.mode) else None
    xattrs = namespace.xattrs(attr.ino) if details else []
    if details and digest is None and attr.content:
        info = namespace.content(attr.content)
        digest = info.digest if info.kind is ContentKind.SEALED and info.version == attr.version else None
    return Node(name, *attr, digest=digest, target=target, xattrs=xattrs)


def handle_stat(service: Service, request: requests.Stat, _: Channel) -> Node:
    namespace = service.volume.namespace
    attr = existing(namespace, request.path, follow=request.follow)
    name = b"".join(split(request.path)[-1:])
    return node_of(namespace, name, attr, details=request.details)


def handle_list(service: Service, request: requests.ListNames, _: Channel) -> Page:
    namespace = service.volume.namespace
    parent = directory(namespace, request.path)
    entries = namespace.entries(parent.ino, request.after, request.limit)
    nodes: list[Node] = []
    size = 0
    for entry in entries:
        node = node_of(namespace, entry.name, entry.attr, details=request.details, digest=entry.digest)
        nodes.append(node)
        size += sum(len(name) + len(value) for name, value in node.xattrs)
        if size > _PAGE_BYTES:
            return Page(nodes, True)
    return Page(nodes, len(entries) == request.limit)


def handle_mkdir(service: Service, request: requests.MakeDirectory, _: Channel) -> None:
    volume = service.volume
    if request.parents:
        _make_parents(volume, request)
        return
    spot = locate(volume.namespace, request.path)
    free(spot, request.path)
    volume.submit(_mkdir(volume, spot, request))


def _make_parents(volume: Volume, request: requests.MakeDirectory) -> None:
    parts = split(request.path)
    for count in range(1, len(parts) + 1):
        path = b"/" + b"/".join(parts[:count])
        spot = locate(volume.namespace, path, follow=True)
        if spot.attr is None:
            try:
                volume.submit(_mkdir(volume, spot, request))
            except Exists:
                pass  # somebody else was faster; looked at below
            spot = locate(volume.namespace, path, follow=True)
        if spot.attr is None or not stat.S_ISDIR(spot.attr.mode):
            raise Exists(f"{show(path)} is there already, and no directory")


def _mkdir(volume: Volume, spot: Spot, request: requests.MakeDirectory) -> Create:
    mode = stat.S_IFDIR | request.mode
    return Create(spot.parent, spot.name, volume.new_ino(), mode, request.uid, request.gid)


def handle_remove(service: Service, request: requests.Remove, _: Channel) -> None:
    volume = service.volume
    try:
        spot = locate(volume.namespace, request.path)
        if spot.attr is None:
            raise NotFound(f"{show(request.path)} does not exist in the volume")
    except NotFound:
        if request.missing_ok:
            return
        raise
    if not spot.name:
        raise Invalid("the root of a volume cannot be removed; remove what is in it")
    if not stat.S_ISDIR(spot.attr.mode):
        volume.submit(Unlink(spot.parent, spot.name))
    elif request.recursive:
        volume.submit(RemoveTree(spot.parent, spot.name))
    else:
        raise IsADirectory(f"{show(request.path)} is a directory: remove it and all in it with -r")


def handle_move(service: Service, request: requests.Move, _: Channel) -> None:
    volume = service.volume
    source = locate(volume.namespace, request.source)
    if source.attr is None:
        raise NotFound(f"{show(request.source)} does not exist in the volume")
    target = _inside(volume.namespace, request.target, source.name)
    if not source.name or not target.name:
        raise Invalid("the root of a volume cannot be moved or replaced")
    mode = RenameMode.REPLACE if request.replace else RenameMode.NOREPLACE
    volume.submit(Rename(source.parent, source.name, target.parent, target.name, mode))


def handle_copy(service: Service, request: requests.Copy, _: Channel) -> None:
    """A file or a whole tree in one batch, whatever its size: contents are shared."""
    volume = service.volume
    source = locate(volume.namespace, request.source, follow=not request.recursive)
    if source.attr is None:
        raise NotFound(f"{show(request.source)} does not exist in the volume")
    if stat.S_ISDIR(source.attr.mode) and not request.recursive:
        raise IsADirectory(f"{show(request.source)} is a directory: copy it and all in it with -r")
    target = _inside(volume.namespace, request.target, source.name)
    if not target.name:
        raise Exists("the root of a volume cannot be replaced")
    if target.attr is not None and target.attr.ino == source.attr.ino:
        raise Invalid(f"{show(request.source)} and {show(request.target)} are the same file")
    volume.submit(
        Clone(
            source.attr.ino,
            target.parent,
            target.name,
            volume.new_ino(),
            request.uid,
            request.gid,
            preserve=request.preserve,
            tree=request.recursive,
            replace=request.replace,
        )
    )


def _inside(namespace: Namespace, path: bytes, name: bytes) -> Spot:
    """The spot meant by the last argument of cp and mv: in it, if it is a directory."""
    spot = locate(namespace, path, follow=True)
    if spot.attr is not None and stat.S_ISDIR(spot.attr.mode):
        return Spot(spot.attr.ino, name, namespace.lookup(spot.attr.ino, name))
    if spot.attr is None and path.endswith(b"/"):
        raise NotFound(f"{show(path)} does not exist in the volume")
    return spot
