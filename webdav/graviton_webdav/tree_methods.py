"""DELETE, MKCOL, COPY and MOVE: each one batch in the namespace, whatever the size of the tree."""

from __future__ import annotations

import stat

from graviton_webdav.conditions import Conditions
from graviton_webdav.faults import Refused
from graviton_webdav.locks import Locks
from graviton_webdav.messages import Request, Response
from graviton_webdav.paths import Path, href, parse_reference
from graviton_webdav.resources import Place, Resources, is_collection, is_shown
from graviton_webdav.upload import Owner, parse_mtime
from gravitonfs.core.ids import Ino
from gravitonfs.errors import Exists
from gravitonfs.ports.ops import Attr, Clone, Create, Op, RemoveTree, Rename, RenameMode, SetAttr


class TreeMethods:
    """Everything is durable before it is answered."""

    def __init__(self, resources: Resources, locks: Locks, conditions: Conditions, owner: Owner) -> None:
        self._resources = resources
        self._volume = resources.volume
        self._locks = locks
        self._conditions = conditions
        self._owner = owner

    def delete(self, request: Request) -> Response:
        place, attr, parent = self._source(request)
        if is_collection(attr) and request.depth("infinity") != "infinity":
            raise Refused(400, "a collection is deleted with Depth: infinity")
        tokens = self._conditions.tokens(request)
        self._conditions.check(request, attr)
        with self._locks.steady():
            self._locks.check(request.path, tokens, request.principal, deep=True, member=True)
            self._volume.submit(
                RemoveTree(parent, place.name), *self._locks.removal(request.path), durable=True
            )
        return Response(204)

    def mkcol(self, request: Request) -> Response:
        if not request.body.finished and request.body.read_all(1 << 16):
            raise Refused(415, "MKCOL takes no body")
        place = self._resources.find(request.path)
        if place.attr is not None or not request.path:
            raise Refused(405, "something of this name exists", headers=[("Allow", "PROPFIND, DELETE")])
        if place.parent is None:
            raise Refused(409, "the collection above does not exist")
        tokens = self._conditions.tokens(request)
        self._conditions.check(request, None)
        owner = self._owner
        ino = self._volume.new_ino()
        mode = stat.S_IFDIR | owner.directory_mode
        ops: list[Op] = [Create(place.parent, place.name, ino, mode, owner.uid, owner.gid)]
        mtime = parse_mtime(request.header(b"X-Oc-Mtime"))
        if mtime is not None:
            ops.append(SetAttr(ino, mtime_ns=mtime))
        with self._locks.steady():
            self._locks.check(request.path, tokens, request.principal, member=True)
            try:
                self._volume.submit(*ops, durable=True)
            except Exists:
                raise Refused(405, "something of this name exists") from None
        return Response(201)

    def copy(self, request: Request) -> Response:
        _, attr, _ = self._source(request)
        depth = request.depth("infinity")
        if depth == "1":
            raise Refused(400, "COPY takes Depth 0 or infinity")
        target, overwrite = self._destination(request)
        tokens = self._conditions.tokens(request)
        self._conditions.check(request, attr)
        owner = self._owner
        with self._locks.steady():
            there, parent = self._free(request, target, tokens, overwrite)
            _refuse_into_itself(request.path, target, attr, depth)
            replaced = there.attr is not None
            ops: list[Op] = []
            if replaced:  # the copy takes the source's properties, so nothing of the old file stays
                ops.append(RemoveTree(parent, there.name))
            ops.append(
                Clone(
                    attr.ino,
                    parent,
                    there.name,
                    self._volume.new_ino(),
                    owner.uid,
                    owner.gid,
                    tree=depth == "infinity",
                )
            )
            self._submit(ops, overwrite=overwrite)
        return _made(target, replaced, is_collection(attr))

    def move(self, request: Request) -> Response:
        place, attr, parent = self._source(request)
        if is_collection(attr) and request.depth("infinity") != "infinity":
            raise Refused(400, "a collection is moved with Depth: infinity")
        target, overwrite = self._destination(request)
        tokens = self._conditions.tokens(request)
        self._conditions.check(request, attr)
        with self._locks.steady():
            self._locks.check(request.path, tokens, request.principal, deep=True, member=True)
            there, new_parent = self._free(request, target, tokens, overwrite)
            _refuse_into_itself(request.path, target, attr, "infinity")
            replaced = there.attr is not None
            ops: list[Op] = []
            if there.attr is not None and (is_collection(there.attr) or is_collection(attr)):
                ops.append(RemoveTree(new_parent, there.name))
            mode = RenameMode.REPLACE if overwrite else RenameMode.NOREPLACE
            ops.append(Rename(parent, place.name, new_parent, there.name, mode))
            ops += self._locks.removal(request.path)
            self._submit(ops, overwrite=overwrite)
        return _made(target, replaced, is_collection(attr))

    def _submit(self, ops: list[Op], *, overwrite: bool) -> None:
        try:
            self._volume.submit(*ops, durable=True)
        except Exists as error:
            # Something has appeared at the destination since it was looked at.
            raise Refused(409 if overwrite else 412, str(error)) from None

    def _source(self, request: Request) -> tuple[Place, Attr, Ino]:
        """What a request acts on: a link itself, not what it leads to; the root cannot be acted on."""
        place, attr = self._resources.existing(request.path, slash=request.slash)
        if place.linked:
            place = self._resources.find(request.path, follow=False)
            attr = place.attr or attr
        if place.parent is None:
            raise Refused(403, "the root of the volume cannot be moved, copied or deleted")
        return place, attr, place.parent

    def _destination(self, request: Request) -> tuple[Path, bool]:
        reference = request.header(b"Destination")
        if reference is None:
            raise Refused(400, "a Destination header is wanted")
        overwrite = (request.header(b"Overwrite") or "T").strip().upper()
        if overwrite not in ("T", "F"):
            raise Refused(400, "Overwrite must be T or F")
        path, _ = parse_reference(reference, request.authorities())
        if not path:
            raise Refused(403, "the root of the volume cannot be replaced")
        return path, overwrite == "T"

    def _free(
        self, request: Request, target: Path, tokens: frozenset[str], overwrite: bool
    ) -> tuple[Place, Ino]:
        """Where the destination is, once it is known that it may be written."""
        there = self._resources.find(target, follow=False)
        if there.parent is None:
            raise Refused(409, "the collection that would hold the destination does not exist")
        if there.attr is not None and not overwrite:
            raise Refused(412, "the destination exists and Overwrite is F")
        if there.attr is not None and not (is_shown(there.attr) or stat.S_ISLNK(there.attr.mode)):
            raise Refused(403, "the destination belongs to something that is no file")
        exists = there.attr is not None
        self._locks.check(target, tokens, request.principal, deep=exists, member=not exists)
        return there, there.parent


def _refuse_into_itself(source: Path, target: Path, attr: Attr, depth: str) -> None:
    if source == target:
        raise Refused(403, "source and destination are the same")
    if source[: len(target)] == target:
        raise Refused(409, "the destination holds the source and cannot be replaced by it")
    if is_collection(attr) and depth == "infinity" and target[: len(source)] == source:
        raise Refused(403, "a collection cannot go into itself")


def _made(target: Path, replaced: bool, collection: bool) -> Response:
    if replaced:
        return Response(204)
    return Response(201, [("Location", href(target, collection=collection))])
