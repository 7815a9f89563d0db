"""What a session knows of its volume's names, attributes and extended attributes, within a budget of bytes.

Only what is true is in here, as long as the caller follows each change; what is dropped is merely not known.
"""

from __future__ import annotations

import enum
import stat
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from gravitonfs.core.ids import NO_CONTENT, NO_INO, ContentId, Ino
from gravitonfs.core.snapshots import DIRECTORY, DIRECTORY_INO
from gravitonfs.core.trash import DIRECTORY as TRASH
from gravitonfs.core.trash import is_trash
from gravitonfs.ports.namespace import Change, ContentInfo, Entry, Touched
from gravitonfs.ports.ops import Attr

_NODE: Final = 640
"""Bytes that an inode's attributes take, about; and a name that stands for one."""
_NAME: Final = 160
_ONE_DIRECTORY: Final = 2
"""A directory with more names than this part of the budget holds is not kept."""
_KEPT: Final = 0.75
_TYPE: Final = 0o170000


_HIDDEN: Final = (DIRECTORY, TRASH)
"""Of a root: there, and not listed."""


class Unknown(enum.Enum):
    UNKNOWN = 0


UNKNOWN: Final = Unknown.UNKNOWN


class Names:
    """Of one directory. ``found``: the inode of each name known, NO_INO where there is none.

    ``complete``: names that are not among them do not exist. ``read_to``: all names up to this one were read,
    page by page; ``losses`` counts names that were dropped since. ``misses`` were asked for and not known.
    """

    __slots__ = ("complete", "found", "losses", "misses", "ordered", "read_to", "reading", "refused", "used")

    def __init__(self, *, complete: bool = False) -> None:
        self.found: dict[bytes, Ino] = {}
        self.complete = complete
        self.ordered: list[bytes] | None = None
        self.read_to = b""
        self.losses = 0
        self.misses = 0
        self.reading = False
        self.refused = False
        self.used = True

    def in_order(self) -> list[bytes]:
        if self.ordered is None:
            self.ordered = sorted(name for name, ino in self.found.items() if ino)
        return self.ordered


class Node:
    """Of one inode; None: not known. ``place``: parent and name of a directory. ``digest``: its content's.
    ``draft``: this session has written its content, which is neither sealed nor shared, as far as we know."""

    __slots__ = ("attr", "digest", "draft", "names", "place", "target", "xattrs")

    def __init__(self) -> None:
        self.attr: Attr | None = None
        self.digest: bytes | Unknown | None = UNKNOWN
        self.draft = False
        self.names: Names | None = None
        self.place: tuple[Ino, bytes] | None = None
        self.target: bytes | None = None
        self.xattrs: dict[bytes, bytes] | None = None

    @classmethod
    def of(cls, entry: Entry) -> Node:
        node = cls()
        node.attr, node.digest = entry.attr, entry.digest
        return node


class KnownNames:
    """Not thread-safe, but for ``lookup``, ``attr``, ``xattrs_at``, ``without_xattrs`` and ``node``: they
    look at one thing after the other, and each such answer was true at some moment of the call."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.size = 0
        """Bytes, estimated."""
        self.epoch = 0
        """Another one whenever all has become unknown."""
        self.sealed: dict[ContentId, ContentInfo] = {}
        self._nodes: dict[Ino, Node] = {}
        self._listed: dict[Ino, Entry] = {}
        """Those of which no more is known than a listing told, and that are no directories: as they came. An
        inode goes over to ``_nodes`` before it leaves here, where it is looked for second."""

    def clear(self) -> None:
        self.epoch += 1
        self._nodes = {}
        self._listed = {}
        self.sealed = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._nodes) + len(self._listed)

    # --- what is known -------------------------------------------------------------------------------

    def node(self, ino: Ino) -> Node | None:
        """To look at only."""
        node = self._nodes.get(ino)
        if node is None and (entry := self._listed.get(ino)) is not None:
            node = Node.of(entry)
        return node

    def attr(self, ino: Ino) -> Attr | None:
        node = self._nodes.get(ino)
        if node is not None:
            return node.attr
        entry = self._listed.get(ino)
        return None if entry is None else entry.attr

    def lookup(self, parent: Ino, name: bytes) -> Attr | Unknown | None:
        """None: there is no such name."""
        ino = self.ino(parent, name)
        if ino is UNKNOWN:
            return UNKNOWN
        if ino == NO_INO:
            return None
        attr = self.attr(ino)
        return UNKNOWN if attr is None else attr

    def ino(self, parent: Ino, name: bytes) -> Ino | Unknown:
        """NO_INO: there is no such name."""
        node = self._nodes.get(parent)
        if node is None or node.names is None:
            return UNKNOWN
        names = node.names
        names.used = True
        found = names.found.get(name)
        if found is None:
            return NO_INO if names.complete and name not in _HIDDEN else UNKNOWN
        return found

    def xattrs_at(self, ino: Ino) -> dict[bytes, bytes] | None:
        node = self._nodes.get(ino)
        return None if node is None else node.xattrs

    def page(self, parent: Ino, after: bytes | None, limit: int) -> list[Entry] | Unknown:
        node = self._nodes.get(parent)
        if node is None or node.names is None or not node.names.complete:
            return UNKNOWN
        names = node.names
        names.used = True
        order = names.in_order()
        start = bisect_right(order, after) if after else 0
        result: list[Entry] = []
        found, listed = names.found, self._listed
        for name in order[start : start + limit]:
            entry = listed.get(found[name])
            if entry is None or entry.name != name:
                child = self.node(found[name])
                if child is None or child.attr is None or child.digest is UNKNOWN:
                    return UNKNOWN
                entry = Entry(name, child.attr, child.digest)
            result.append(entry)
        return result

    def without_xattrs(self, inos: Iterable[int]) -> list[Ino]:
        """Those of them that are known but for their extended attributes."""
        found: list[Ino] = []
        for ino in map(Ino, inos):
            node = self._nodes.get(ino)
            if ino in self._listed if node is None else node.xattrs is None:
                found.append(ino)
        return found

    # --- what comes to be known ----------------------------------------------------------------------

    def make(self, ino: Ino) -> Node:
        node = self._nodes.get(ino)
        if node is None:
            entry = self._listed.get(ino)
            if is_trash(ino):
                return Node()  # nothing is kept of it: it changes with every removal
            if entry is None:
                node = self._nodes[ino] = Node()
                self.size += _NODE
            else:
                node = self._nodes[ino] = Node.of(entry)
                del self._listed[ino]
        return node

    def set_attr(self, attr: Attr, digest: bytes | Unknown | None = UNKNOWN) -> Node:
        """``digest`` UNKNOWN: as it was, if the content still is."""
        node = self.make(attr.ino)
        before = node.attr
        node.attr = attr
        if before is None or before.content != attr.content:
            node.draft = False
        if attr.content == NO_CONTENT:
            node.digest = None
        elif digest is not UNKNOWN:
            node.digest = digest
        elif before is None or (before.content, before.version) != (attr.content, attr.version):
            node.digest = UNKNOWN
        return node

    def set_xattrs(self, ino: Ino, xattrs: dict[bytes, bytes]) -> None:
        if is_trash(ino):
            return
        node = self.make(ino)
        self.size += _weight(xattrs) - _weight(node.xattrs)
        node.xattrs = xattrs

    def names_of(self, ino: Ino, *, complete: bool = False) -> Names:
        node = self.make(ino)
        if node.names is None:
            node.names = Names(complete=complete)
        return node.names

    def set_name(self, parent: Ino, name: bytes, ino: Ino) -> None:
        """NO_INO: there is none. Call it after the inode's attributes are set."""
        if ino == DIRECTORY_INO or is_trash(ino) or is_trash(parent):
            return  # it is not listed
        names = self.names_of(parent)
        if names.refused:
            return
        before = names.found.get(name, NO_INO if names.complete else None)
        if ino != NO_INO or not names.complete:
            if name not in names.found:
                self.size += _NAME
            names.found[name] = ino
        elif names.found.pop(name, None) is not None:
            self.size -= _NAME
        if names.ordered is not None:
            _put_in_order(names.ordered, name, before or NO_INO, ino)
        child = self._nodes.get(ino) if ino else None
        if child is not None and child.attr is not None and stat.S_ISDIR(child.attr.mode):
            child.place = (parent, name)
        self._check_size(names)

    def set_page(self, parent: Ino, page: Sequence[Entry]) -> None:
        """As ``set_attr`` and ``set_name`` of each."""
        if is_trash(parent):
            return
        nodes, listed, names = self._nodes, self._listed, self.names_of(parent)
        plain = [
            entry for entry in page if entry.attr.ino not in nodes and entry.attr.mode & _TYPE != stat.S_IFDIR
        ]
        if len(plain) != len(page):
            for name, attr, digest in page:
                if attr.ino in nodes or stat.S_ISDIR(attr.mode):
                    self.set_attr(attr, digest)
                    self.set_name(parent, name, attr.ino)
        if names.refused:
            return
        before = len(listed), len(names.found)
        inos = [entry.attr.ino for entry in plain]
        listed.update(zip(inos, plain, strict=True))
        names.found.update(zip([entry.name for entry in plain], inos, strict=True))
        names.ordered = None
        self.size += _NODE * (len(listed) - before[0]) + _NAME * (len(names.found) - before[1])
        self._check_size(names)

    def _check_size(self, names: Names) -> None:
        if len(names.found) * (_NAME + _NODE) * _ONE_DIRECTORY > self.budget:
            self._refuse(names)

    def _refuse(self, names: Names) -> None:
        self.size -= len(names.found) * _NAME
        names.found, names.ordered, names.complete = {}, None, False
        names.losses += 1
        names.refused = True

    def read(self, names: Names, read_to: bytes, losses: int, *, end: bool) -> None:
        """All names up to ``read_to`` have been set, unless some were lost since there were ``losses``."""
        if names.losses != losses or names.refused:
            names.read_to = b""
            return
        names.read_to = read_to
        if end and not names.complete:
            names.complete = True
            for name in [name for name, ino in names.found.items() if not ino]:
                del names.found[name]
                self.size -= _NAME

    # --- what is not known any more ------------------------------------------------------------------

    def drop(self, ino: Ino) -> None:
        """All but the names in it, if it is a directory."""
        node = self._nodes.get(ino)
        if node is None or node.names is None:
            self.drop_whole(ino)
            return
        self.size -= _weight(node.xattrs)
        node.attr = node.xattrs = node.target = node.place = None
        node.digest = UNKNOWN
        node.draft = False

    def drop_whole(self, ino: Ino) -> None:
        node = self._nodes.pop(ino, None)
        if node is None:
            if self._listed.pop(ino, None) is not None:
                self.size -= _NODE
        else:
            self.size -= _NODE + _weight(node.xattrs)
            if node.names is not None:
                self.size -= len(node.names.found) * _NAME
                node.names.losses += 1

    def drop_xattrs(self, ino: Ino) -> None:
        node = self._nodes.get(ino)
        if node is not None and node.xattrs is not None:
            self.size -= _weight(node.xattrs)
            node.xattrs = None

    def drop_name(self, parent: Ino, name: bytes) -> None:
        node = self._nodes.get(parent)
        if node is None or node.names is None:
            return
        names = node.names
        ino = names.found.pop(name, None)
        if ino is not None:
            self.size -= _NAME
        names.complete, names.ordered, names.read_to = False, None, b""
        names.losses += 1
        child = self._nodes.get(ino) if ino else None
        if child is not None:
            child.place = None

    def drop_changed(self, change: Change) -> None:
        """All that a change says is no longer so."""
        if change.touched & Touched.ENTRY:
            self.drop_name(change.parent, change.name)
            self.drop(change.parent)
        self.drop(change.ino)

    def trim(self) -> None:
        """Back below the budget. What was merely listed goes first, then who came first; directories in use
        have a second chance."""
        if self.size <= self.budget:
            return
        over = (self.size - int(self.budget * _KEPT)) // _NODE + 1
        for ino in list(islice(self._listed, over)):
            self.drop_whole(ino)
        for ino, node in list(self._nodes.items()):
            if self.size <= self.budget * _KEPT:
                return
            if node.names is not None and node.names.used:
                node.names.used = False
                self._nodes[ino] = self._nodes.pop(ino)
            else:
                self.drop_whole(ino)
        if self.size > self.budget:
            self.clear()


def _put_in_order(order: list[bytes], name: bytes, before: Ino, ino: Ino) -> None:
    if ino and not before:
        insort(order, name)
    elif before and not ino:
        at = bisect_left(order, name)
        if at < len(order) and order[at] == name:
            del order[at]


def _weight(xattrs: dict[bytes, bytes] | None) -> int:
    return 64 + sum(len(name) + len(value) + 128 for name, value in xattrs.items()) if xattrs else 0
