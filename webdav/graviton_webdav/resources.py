"""What a URL leads to in the volume.

Clients of WebDAV know files and collections. A symlink is shown as what it points to when that lies in
the volume (relative targets); other links, devices, FIFOs and sockets are not shown at all.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from typing import NamedTuple

from graviton_webdav.faults import Refused
from graviton_webdav.paths import Path
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import NotFound, Stale
from gravitonfs.ports.namespace import ContentKind
from gravitonfs.ports.ops import Attr

_LINKS_MAX = 40
_ETAGS_MAX = 4096


class Place(NamedTuple):
    """Where a path leads. ``attr`` None: nothing is there; ``parent`` None: nor could anything be.

    ``parent`` and ``name`` are those of the inode itself, behind links (``linked``); the root has
    parent None, name empty and an ``attr``.
    """

    path: Path
    parent: Ino | None
    name: bytes
    attr: Attr | None
    linked: bool


def is_collection(attr: Attr) -> bool:
    return stat.S_ISDIR(attr.mode)


def is_shown(attr: Attr) -> bool:
    """Files and collections are; what links lead to must be asked first."""
    return stat.S_ISREG(attr.mode) or stat.S_ISDIR(attr.mode)


class Resources:
    """Finds what paths name. Thread-safe; keeps only digests, which never change."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._names = volume.namespace
        self._digests: OrderedDict[ContentId, bytes] = OrderedDict()

    def find(self, path: Path, *, follow: bool = True) -> Place:
        """``follow`` False stops at a link that the last name of ``path`` is."""
        if not path:
            return Place((), None, b"", self._names.attr(self._names.root), False)
        real = path
        for _ in range(_LINKS_MAX):
            steps = self._names.resolve(real)
            last = steps[-1] if steps else None
            if last is None or not stat.S_ISLNK(last.mode) or (len(steps) == len(real) and not follow):
                return self._place(path, real, steps)
            target = self._target(real[: len(steps) - 1], last.ino)
            if target is None:
                return Place(path, None, path[-1], None, True)
            real = (*target, *real[len(steps) :])
            if not real:
                return Place(path, None, b"", self._names.attr(self._names.root), True)
        return Place(path, None, path[-1], None, True)

    def existing(self, path: Path, *, slash: bool = False) -> tuple[Place, Attr]:
        """The place of a resource that is there and shown, or 404."""
        place = self.find(path)
        attr = place.attr
        if attr is None or not is_shown(attr) or (slash and not is_collection(attr) and path):
            raise Refused(404, "there is no such file or collection")
        return place, attr

    def behind_link(self, directory: Path, link: Attr) -> Attr | None:
        """What a link among a collection's members leads to, where that is shown."""
        target = self._target(directory, link.ino)
        if target is None:
            return None
        attr = self.find(target).attr
        return attr if attr is not None and is_shown(attr) else None

    def etag(self, attr: Attr, digest: bytes | None = None) -> str:
        """Strong: the digest of sealed bytes, else the content's number and version. Quoted."""
        found = digest or self.digest(attr)
        return f'"{found.hex()}"' if found is not None else version_etag(attr)

    def digest(self, attr: Attr) -> bytes | None:
        if not attr.content:
            return None
        known = self._digests.get(attr.content)
        if known is not None:
            return known
        try:
            info = self._names.content(attr.content)
        except (NotFound, Stale):
            return None
        if info.kind is not ContentKind.SEALED or info.digest is None:
            return None
        self._digests[attr.content] = info.digest
        if len(self._digests) > _ETAGS_MAX:
            self._digests.popitem(last=False)
        return info.digest

    def etag_matches(self, candidate: str, attr: Attr) -> bool:
        """A file that is sealed in the meantime keeps the tag it had before, too: its bytes are the same."""
        return candidate in (version_etag(attr), self.etag(attr))

    def _place(self, path: Path, real: Path, steps: list[Attr]) -> Place:
        linked = real is not path
        if len(steps) < len(real) - 1:
            return Place(path, None, real[-1], None, linked)
        parent = self._names.root if len(real) == 1 else steps[len(real) - 2].ino
        if len(real) > 1 and not is_collection(steps[len(real) - 2]):
            return Place(path, None, real[-1], None, linked)
        return Place(path, parent, real[-1], steps[-1] if len(steps) == len(real) else None, linked)

    def _target(self, directory: Path, link: Ino) -> Path | None:
        """The path a link in ``directory`` (itself without links) points to, if it stays in the volume."""
        raw = self._names.readlink(link)
        if raw.startswith(b"/"):
            return None  # absolute targets mean the machine's own tree, not the volume's
        result = list(directory)
        for part in raw.split(b"/"):
            if part == b"..":
                if not result:
                    return None
                result.pop()
            elif part not in (b"", b"."):
                result.append(part)
        return tuple(result)


def version_etag(attr: Attr) -> str:
    return f'"{attr.content}-{attr.version}"'
