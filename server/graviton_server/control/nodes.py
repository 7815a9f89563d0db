"""Handlers that read and change names."""

from __future__ import annotations

import stat

from graviton_server.control import requests
from graviton_server.control.answers import NewNode, Node, Page
from graviton_server.control.calls import Channel
from graviton_server.control.paths import Spot, directory, existing, free, locate, show, split
from graviton_server.control.service import Service
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Exists, Invalid, IsADirectory, NotFound
from gravitonfs.ports.namespace import ContentKind, Namespace
from gravitonfs.ports.ops import (
    Attr,
    Clone,
    Create,
    Link,
    Op,
    RemoveTree,
    Rename,
    RenameMode,
    SetAttr,
    SetXattr,
    Unlink,
)


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
    return node_of(namespace, split(request.path)[-1:][0] if split(request.path) else b"", attr,
                   details=request.details)  # fmt: skip


def handle_list(service: Service, request: requests.ListNames, _: Channel) -> Page:
    namespace = service.volume.namespace
    parent = directory(namespace, request.path)
    entries = namespace.entries(parent.ino, request.after, request.limit)
    nodes = [node_of(namespace, e.name, e.attr, details=request.details, digest=e.digest) for e in entries]
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


def handle_make_nodes(service: Service, request: requests.MakeNodes, channel: Channel) -> int:
    volume = service.volume
    made = 0
    for node in request.nodes:
        made += _make(volume, node)
    return made


def _make(volume: Volume, node: NewNode) -> bool:
    namespace = volume.namespace
    spot = locate(namespace, node.path)
    if node.link_to is not None:
        return _link(volume, node, spot)
    old = spot.attr
    if stat.S_ISREG(node.mode):
        if old is None or not stat.S_ISREG(old.mode):
            raise NotFound(f"{show(node.path)} does not exist in the volume any more")
        _dress(volume, old, node)
        return False
    if old is not None and stat.S_ISDIR(node.mode) and not spot.name:
        return False  # the root keeps what it is
    if old is not None and _is_so(namespace, old, node):
        _dress(volume, old, node)
        return False
    if old is not None and stat.S_ISDIR(old.mode):
        raise IsADirectory(f"{show(node.path)} is a directory in the volume, and none where it comes from")
    ops: list[Op] = [] if old is None else [Unlink(spot.parent, spot.name)]
    ino = volume.new_ino()
    ops.append(Create(spot.parent, spot.name, ino, node.mode, node.uid, node.gid, node.rdev, node.target))
    # A setgid parent or a default ACL has its say in Create; a put keeps what it was given.
    ops += dressing(ino, node.mode, node.uid, node.gid, node.atime_ns, node.mtime_ns, node.xattrs)
    volume.submit(*ops)
    return True


def _link(volume: Volume, node: NewNode, spot: Spot) -> bool:
    first = existing(volume.namespace, node.link_to or b"")
    if spot.attr is not None and spot.attr.ino == first.ino:
        return False
    ops: list[Op] = [Link(first.ino, spot.parent, spot.name)]
    if spot.attr is not None:
        if stat.S_ISDIR(spot.attr.mode):
            raise IsADirectory(f"{show(node.path)} is a directory in the volume")
        ops.insert(0, Unlink(spot.parent, spot.name))
    volume.submit(*ops)
    return True


def _is_so(namespace: Namespace, old: Attr, node: NewNode) -> bool:
    """It is what it shall be already, apart from owner, mode and times."""
    if stat.S_IFMT(old.mode) != stat.S_IFMT(node.mode) or old.rdev != node.rdev:
        return False
    return not stat.S_ISLNK(old.mode) or namespace.readlink(old.ino) == node.target


def _dress(volume: Volume, old: Attr, node: NewNode) -> None:
    mtime = old.mtime_ns if stat.S_ISDIR(old.mode) else node.mtime_ns
    same = (old.mode, old.uid, old.gid, old.mtime_ns) == (node.mode, node.uid, node.gid, mtime)
    if not same or (node.xattrs and dict(volume.namespace.xattrs(old.ino)) != dict(node.xattrs)):
        volume.submit(*dressing(old.ino, node.mode, node.uid, node.gid, node.atime_ns, mtime, node.xattrs))


def dressing(
    ino: Ino,
    mode: int,
    uid: int,
    gid: int,
    atime_ns: int | None,
    mtime_ns: int | None,
    xattrs: list[tuple[bytes, bytes]],
) -> list[Op]:
    """Everything a node has besides its bytes; the mode last, for a change of owner clears set-id bits."""
    ops: list[Op] = [SetAttr(ino, uid=uid, gid=gid)]
    ops += [SetXattr(ino, name, value) for name, value in xattrs]
    chmod = None if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
    ops.append(SetAttr(ino, mode=chmod, atime_ns=atime_ns, mtime_ns=mtime_ns))
    return ops


def handle_set_times(service: Service, request: requests.SetTimes, _: Channel) -> None:
    volume = service.volume
    ops: list[Op] = []
    for path, atime_ns, mtime_ns in request.times:
        attr = existing(volume.namespace, path)
        if (attr.atime_ns, attr.mtime_ns) != (atime_ns, mtime_ns):
            ops.append(SetAttr(attr.ino, atime_ns=atime_ns, mtime_ns=mtime_ns))
    if ops:
        volume.submit(*ops)
