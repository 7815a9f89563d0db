"""What differs between two states of a volume: snapshots, or one and the present.

Both trees are walked side by side, in byte order; no more is kept than a page of names for each level. A name
that has gone while its inode has another name is a rename, told where it went from.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gravitonfs.core.ids import Ino
from gravitonfs.core.snapshots import DIRECTORY, is_past, parted, past_ino
from gravitonfs.errors import GravitonError, NotFound, Stale
from gravitonfs.ports.namespace import Entry, Namespace
from gravitonfs.ports.ops import Attr

_PAGE: Final = 1000
_DEPTH: Final = 10_000


class Difference(NamedTuple):
    """``what``: added, removed, changed or renamed (``to``). ``how``, of what is changed: data, mode, owner,
    times, attributes, type."""

    what: str
    path: bytes
    to: bytes | None = None
    how: tuple[str, ...] = ()


class _Side:
    """A state. Inodes are spoken of by the numbers that they have in the present."""

    def __init__(self, names: Namespace, snapshot: str | None) -> None:
        self._names = names
        self._number: int | None = None
        self.root = names.root
        if snapshot is not None:
            steps = names.resolve([DIRECTORY, snapshot.encode()])
            if len(steps) < 2:
                raise NotFound(
                    f"there is no snapshot {snapshot!r}: 'graviton snapshot list' tells which there are"
                )
            self._number = parted(steps[-1].ino)[0]

    def _known_as(self, ino: Ino) -> Ino:
        return ino if self._number is None else past_ino(self._number, ino)

    def entries(self, directory: Ino) -> Iterator[Entry]:
        after: bytes | None = None
        while True:
            try:
                page = self._names.entries(self._known_as(directory), after, _PAGE)
            except (NotFound, Stale):
                if self._number is not None:
                    raise
                return  # removed meanwhile
            for name, attr, digest in page:
                yield Entry(name, attr._replace(ino=_live(attr.ino)), digest)
            if len(page) < _PAGE:
                return
            after = page[-1].name

    def attr(self, ino: Ino) -> Attr:
        return self._names.attr(self._known_as(ino))._replace(ino=ino)

    def xattrs(self, ino: Ino) -> list[tuple[bytes, bytes]]:
        return self._names.xattrs(self._known_as(ino))

    def place(self, ino: Ino) -> tuple[Ino, bytes] | None:
        """Where a name of the inode is; None: it does not exist here."""
        try:
            found = self._names.parent(self._known_as(ino))
        except GravitonError:
            return None
        return None if found is None else (_live(found[0]), found[1])

    def path(self, place: tuple[Ino, bytes]) -> bytes:
        names: list[bytes] = []
        at: tuple[Ino, bytes] | None = place
        while at is not None and len(names) < _DEPTH:
            names.append(at[1])
            at = self.place(at[0]) if at[0] != self.root else None
        return b"/" + b"/".join(reversed(names))

    def named(self, parent: Ino, name: bytes) -> Ino:
        try:
            found = self._names.lookup(self._known_as(parent), name)
        except GravitonError:
            found = None
        return Ino(0) if found is None else _live(found.ino)


def _live(number: Ino) -> Ino:
    return Ino(parted(number)[1]) if is_past(number) else number


def differences(
    names: Namespace, before: str, after: str | None, check: Callable[[], None] = lambda: None
) -> Iterator[Difference]:
    """``after`` None: the volume as it is now, which may change meanwhile. ``check`` raises to stop."""
    return _Differ(_Side(names, before), _Side(names, after), check).run()


class _Differ:
    def __init__(self, old: _Side, new: _Side, check: Callable[[], None]) -> None:
        self._old = old
        self._new = new
        self._check = check

    def run(self) -> Iterator[Difference]:
        """Depth first, without recursion: trees may be deeper than Python's stack."""
        walks: list[Iterator[object]] = [self._inside(b"", self._old.root)]
        while walks:
            step = next(walks[-1], None)
            if step is None:
                walks.pop()
            elif isinstance(step, Difference):
                yield step
            else:
                assert isinstance(step, Iterator)
                walks.append(step)

    def _inside(self, path: bytes, directory: Ino) -> Iterator[object]:
        """Of a directory that is in both."""
        olds, news = self._old.entries(directory), self._new.entries(directory)
        old, new = next(olds, None), next(news, None)
        while old is not None or new is not None:
            self._check()
            if new is None or (old is not None and old.name < new.name):
                assert old is not None
                yield self._gone(path, directory, old)
                old = next(olds, None)
            elif old is None or new.name < old.name:
                yield self._come(path, directory, new)
                new = next(news, None)
            else:
                yield self._both(path, directory, old, new)
                old, new = next(olds, None), next(news, None)

    def _both(self, path: bytes, directory: Ino, old: Entry, new: Entry) -> Iterator[object]:
        here = path + b"/" + old.name
        if old.attr.ino == new.attr.ino:
            how = self._how(old.attr, new.attr)
            if how:
                yield Difference("changed", here, None, how)
            if stat.S_ISDIR(old.attr.mode):
                yield self._inside(here, old.attr.ino)
        elif (
            self._new.place(old.attr.ino) is None
            and self._old.place(new.attr.ino) is None
            and not (stat.S_ISDIR(old.attr.mode) or stat.S_ISDIR(new.attr.mode))
        ):  # replaced, as programs save files
            yield Difference("changed", here, None, self._how(old.attr, new.attr) or ("data",))
        else:
            yield self._gone(path, directory, old)
            yield self._come(path, directory, new)

    def _gone(self, path: bytes, directory: Ino, old: Entry) -> Iterator[object]:
        here, ino = path + b"/" + old.name, old.attr.ino
        place = self._new.place(ino)
        if place is not None and self._old.named(*place) != ino:
            yield Difference("renamed", here, self._new.path(place))
            how = self._how(old.attr, self._new.attr(ino))
            if how:
                yield Difference("changed", self._new.path(place), None, how)
            if stat.S_ISDIR(old.attr.mode):
                yield self._inside(self._new.path(place), ino)
            return
        yield Difference("removed", here)
        if stat.S_ISDIR(old.attr.mode):
            for entry in self._old.entries(ino):
                self._check()
                yield self._gone(here, ino, entry)

    def _come(self, path: bytes, directory: Ino, new: Entry) -> Iterator[object]:
        here, ino = path + b"/" + new.name, new.attr.ino
        place = self._old.place(ino)
        if (
            place is not None
            and self._new.named(*place) != ino
            and self._new.place(ino) == (directory, new.name)
        ):
            return  # told where it was
        yield Difference("added", here)
        if stat.S_ISDIR(new.attr.mode):
            for entry in self._new.entries(ino):
                self._check()
                yield self._come(here, ino, entry)

    def _how(self, old: Attr, new: Attr) -> tuple[str, ...]:
        """Contents have the same numbers in the past; the version tells one state of them from another."""
        how: list[str] = []
        if stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
            return ("type",)
        regular = stat.S_ISREG(old.mode)
        if regular and (old.size, old.version, _live(Ino(old.content))) != (
            new.size, new.version, _live(Ino(new.content)),
        ):  # fmt: skip
            how.append("data")
        if old.mode != new.mode:
            how.append("mode")
        if (old.uid, old.gid) != (new.uid, new.gid):
            how.append("owner")
        if not stat.S_ISDIR(old.mode) and old.mtime_ns != new.mtime_ns and "data" not in how:
            how.append("times")
        if old.ctime_ns != new.ctime_ns and self._old.xattrs(_live(old.ino)) != self._new.xattrs(
            _live(new.ino)
        ):
            how.append("attributes")
        return tuple(how)
