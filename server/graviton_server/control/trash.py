"""What was removed: listing it, and bringing it back to where it was. Nothing is ever overwritten."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from graviton_server.control import store_requests
from graviton_server.control.answers import BroughtBack
from graviton_server.control.calls import Cancelled, Channel
from graviton_server.control.paging import every_entry
from graviton_server.control.paths import locate, show, split
from graviton_server.control.service import Service
from graviton_server.control.shown import name_fields
from graviton_server.control.wire import Event
from gravitonfs.content.volume import Volume
from gravitonfs.core.ids import Ino
from gravitonfs.core.trash import DIRECTORY, is_trash, strip_version, trash_parted
from gravitonfs.errors import Exists, Invalid, NotFound, Stale, Unsupported
from gravitonfs.ports.ops import Attr, Rename

_TOGETHER: Final = 64 << 10
_TELL: Final = 1000

Check = Callable[[int], None]
"""Called with how many were found or brought back; raises to stop."""


class Lost(NamedTuple):
    """``place``: in the trash. ``path``: where it was, or would be by now."""

    place: bytes
    path: bytes
    attr: Attr
    parent: Ino


def handle_list(service: Service, request: store_requests.ListTrash, channel: Channel) -> int:
    with service.pool.volume(request.volume) as volume:
        return tell(volume, request.path, channel.send, _checking(channel))


def handle_restore(service: Service, request: store_requests.RestoreRemoved, channel: Channel) -> BroughtBack:
    with service.pool.volume(request.volume) as volume:
        return bring_back(volume, request.path, request.target, _checking(channel))


def _checking(channel: Channel) -> Check:
    def check(count: int) -> None:
        if channel.cancelled.is_set():
            raise Cancelled
        if count % _TELL == 0:
            channel.event(Event(count, 0, "files"))

    return check


def tell(volume: Volume, path: bytes, send: Callable[[bytes], None], check: Check) -> int:
    """Lines of JSON, some together, of what was removed at or below a path; the newest day comes first."""
    lines = bytearray()
    count = 0
    for found in _removed(volume, path):
        check(count)
        count += 1
        lines += msgspec.json.encode(_line(found)) + b"\n"
        if len(lines) > _TOGETHER:
            send(bytes(lines))
            lines.clear()
    send(bytes(lines))
    return count


def some(volume: Volume, path: bytes, limit: int) -> tuple[list[dict[str, object]], bool]:
    """The first so many of what ``tell`` would tell, and whether there is more."""
    found = [_line(one) for one in islice(_removed(volume, path), limit + 1)]
    return found[:limit], len(found) > limit


def _line(found: Lost) -> dict[str, object]:
    directory = stat.S_ISDIR(found.attr.mode)
    return {
        **name_fields(found.path, "path"),
        **name_fields(found.place, "trash"),
        "kind": "directory" if directory else "link" if stat.S_ISLNK(found.attr.mode) else "file",
        "bytes": 0 if directory else found.attr.size,
        "removed": found.attr.ctime_ns / 1e9,
    }


def bring_back(volume: Volume, path: bytes, target: bytes | None, check: Check) -> BroughtBack:
    """What was removed last under a path, or a place in ``.trash``. Of a directory that is there: all that
    was removed from it, but for what has been made anew since. NotFound, Exists, Invalid."""
    candidates = _places(volume, path)
    for found in candidates:
        if _is_removed(volume, found):
            to = found.path if target is None else target
            _move(volume, found, to)
            volume.commit()
            return BroughtBack(1, 0, show(to))
    if not candidates:
        raise NotFound(
            f"nothing in the trash was at {show(path)}: 'graviton restore --list' tells what is; a file that"
            " lived for less than trash.min-age (10 s unless set) is not kept"
        )
    if target is not None:
        raise Invalid(f"{show(path)} was not removed itself: name what is to go to {show(target)}")
    return _all_below(volume, path, check)


def _all_below(volume: Volume, path: bytes, check: Check) -> BroughtBack:
    done = left = 0
    for found in list(_removed(volume, path, inside=False)):
        check(done)
        try:
            _move(volume, found, found.path)
            done += 1
        except Exists:
            left += 1
    volume.commit()
    return BroughtBack(done, left, show(path))


def _move(volume: Volume, found: Lost, target: bytes) -> None:
    spot = locate(volume.namespace, target)
    if spot.attr is not None or not spot.name:
        raise Exists(f"{show(target)} exists: say with --to where else it is to go, or move that away first")
    name = found.place.rsplit(b"/", 1)[-1]
    volume.submit(Rename(found.parent, name, spot.parent, spot.name))


# --- finding ---------------------------------------------------------------------------------------


def _places(volume: Volume, path: bytes) -> list[Lost]:
    """Where in the trash a path is, the newest day first."""
    parts = split(path)
    names = volume.namespace
    trash = names.resolve([DIRECTORY])
    if not trash or not is_trash(trash[0].ino):
        raise Unsupported(f"the volume has a {show(DIRECTORY)} of its own: rename it to get at the trash")
    if parts[:1] == [DIRECTORY]:
        days, inside = [parts[1:2]], parts[2:]
    else:
        days = [[entry.name] for entry in reversed(list(every_entry(volume.namespace, trash[0].ino)))]
        inside = parts
    found: list[Lost] = []
    for day in days:
        steps = names.resolve([DIRECTORY, *day, *inside])
        if day and len(steps) == 2 + len(inside):
            name = [*inside[:-1], strip_version(inside[-1])] if inside else []
            place = b"/" + b"/".join([DIRECTORY, *day, *inside])
            found.append(Lost(place, b"/" + b"/".join(name), steps[-1], steps[-2].ino))
    return found


def _removed(volume: Volume, path: bytes, *, inside: bool = True) -> Iterator[Lost]:
    """At or below a path. ``inside``: of a directory that was removed what is in it, too."""
    for top in _places(volume, path):
        waiting = [top]
        while waiting:
            found = waiting.pop()
            removed = _is_removed(volume, found)
            if removed:
                yield found
            if not stat.S_ISDIR(found.attr.mode) or (removed and not inside):
                continue
            for name, attr, _ in every_entry(volume.namespace, found.attr.ino):
                below = found.path.rstrip(b"/") + b"/" + strip_version(name)
                child = Lost(found.place + b"/" + name, below, attr, found.attr.ino)
                if stat.S_ISDIR(attr.mode):
                    waiting.append(child)
                else:
                    yield child


def _is_removed(volume: Volume, found: Lost) -> bool:
    """Else it is a directory that lives, on the path to something removed."""
    if not stat.S_ISDIR(found.attr.mode):
        return True
    try:
        return volume.namespace.attr(trash_parted(found.attr.ino)[1]).nlink == 0
    except Stale:
        return True  # erased meanwhile
