"""Handlers that make nodes as they are elsewhere: with their owners, modes, times and attributes."""

from __future__ import annotations

import stat

from graviton_server.control import requests
from graviton_server.control.answers import NewNode
from graviton_server.control.calls import Channel
from graviton_server.control.paths import Spot, existing, locate, show
from graviton_server.control.service import Service
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.errors import IsADirectory, NotFound
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.ops import Attr, Create, Link, Op, SetAttr, SetXattr, Unlink


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
