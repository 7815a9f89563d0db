"""Reading ahead across files: who opens one small file of a directory after another finds the next in memory.

What a file costs where names and packs are behind a network is a question for its map and one for its
block. Of a window of files both are asked for at once, in the background; ``sequences`` says when and which.
Only immutable contents are read ahead: an open asks for the attributes as ever, and by them a file that
somebody replaced meanwhile has another content.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from gravitonfs.content.volume import Volume
from gravitonfs.core.extents import Extent
from gravitonfs.core.ids import ContentId, Ino
from gravitonfs.errors import GravitonError
from gravitonfs.ports.namespace import EXTENTS_OF_MAX, SMALL_CONTENT, Entry
from gravitonfs.ports.ops import Attr
from gravitonfs.vfs.sequences import LISTED, OVERHEAD, Run, Sequences, directories, is_small

_BUDGET_SHARE = 4
"""This part of the cache may be filled with what nobody has opened yet."""

Step = tuple[Run, Sequence[Entry] | None]
"""A run that goes on, and the entries of its window where they are known."""


class FilesAhead:
    """Of one mount. Any thread; nothing blocks but the work itself, on the fetch workers.

    ``_lock`` guards the sequences and ``_finding``.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self.sequences = Sequences(volume.shared.cache.limit // _BUDGET_SHARE)
        self._finding = False
        beside = volume.namespace.inline and volume.shared.near
        self.active = not beside and self.sequences.limit >= SMALL_CONTENT

    @property
    def held(self) -> int:
        """Bytes that are read ahead, or on the way, of files that nobody has opened yet."""
        return self.sequences.bytes

    @property
    def working(self) -> bool:
        """Windows are on their way."""
        return self._finding or self.sequences.busy

    def stop(self) -> None:
        """Nothing more is begun, and what is under way comes to its end soon. Idempotent."""
        self.active = False

    # --- what the mount sees ---

    def seen(self, directory: Ino, name: bytes, attr: Attr) -> None:
        """A name was looked up."""
        if self.active and is_small(attr):
            with self._lock:
                self.sequences.place(directory, name, attr.ino)

    def listed(self, directory: Ino, after: bytes | None, entries: Sequence[Entry], *, whole: bool) -> None:
        """A page of a directory was read; ``whole``: it has no entries behind that."""
        if not self.active:
            return
        with self._lock:
            self.sequences.place_all(directory, entries)
            if after:
                return
            small = any(is_small(entry.attr) for entry in entries)
            self.sequences.walk.know(directory, directories(entries))
            run, others = self.sequences.listed(directory, small=small)
            steps: list[Step] = [(other, None) for other in others]
            if run is not None:
                steps.append((run, run.begin(entries, whole=whole)))
            self._begin(steps)

    def opened(self, attr: Attr) -> None:
        """A file was opened for reading."""
        if not self.active or not is_small(attr):
            return
        with self._lock:
            known, run = self.sequences.arrived(attr.ino)
            if not known:
                place = self.sequences.place_of(attr.ino)
                if place is not None:
                    run = self.sequences.missed(attr.ino, *place)
                elif not self._finding:
                    self._finding = True
                    self._submit(lambda: self._find(attr))
            if run is not None:
                self._begin([(run, None)])

    def _begin(self, steps: Sequence[Step]) -> None:
        """Lock held."""
        for run, _ in steps:
            run.busy = True
        if steps:
            self._submit(lambda: self._work(steps))

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._volume.shared.fetch_workers.submit(work)
        except RuntimeError:
            self.active = False  # they are shut down

    # --- work, on a fetch worker ---

    def _find(self, attr: Attr) -> None:
        """The kernel opened what it had learnt long ago."""
        place = None
        with suppress(GravitonError):  # it has gone
            place = self._volume.namespace.parent(attr.ino)
        with self._lock:
            self._finding = False
            if place is not None:
                self.sequences.place(*place, attr.ino)
        if place is not None:
            self.opened(attr)

    def _work(self, steps: Sequence[Step]) -> None:
        """A window of each run."""
        try:
            if self.active:
                self._fetch([self._window(run, known) for run, known in steps])
        except GravitonError:
            for run, _ in steps:
                run.done = True  # whoever opens the files is told what is wrong
        finally:
            for run, _ in steps:
                run.busy = False

    def _window(self, run: Run, known: Sequence[Entry] | None) -> tuple[Run, bytes, Sequence[Entry]]:
        """With the name behind which it begins."""
        if known is not None:
            return run, b"", known
        namespace, start = self._volume.namespace, run.next
        if run.begun:
            return run, start, run.take(namespace.entries(run.directory, start or None, run.window))
        entries = namespace.entries(run.directory, None, LISTED)  # on a walk
        with self._lock:
            self.sequences.walk.know(run.directory, directories(entries))
        return run, start, run.begin(entries, whole=len(entries) < LISTED)

    def _fetch(self, windows: Sequence[tuple[Run, bytes, Sequence[Entry]]]) -> None:
        room = max(self.sequences.limit - self.sequences.bytes, SMALL_CONTENT + OVERHEAD)
        chosen: list[tuple[Run, Attr]] = []
        for run, start, entries in windows:
            files, room = run.choose(start, entries, room)
            chosen += [(run, attr) for attr in files]
        found = self._maps([attr.content for _, attr in chosen])
        with self._lock:
            for run, attr in chosen:
                if attr.content in found:
                    self.sequences.wait(run, attr)
        if self.active:
            wanted = [(e.block, e.hint, e.length) for extents in found.values() for e in extents]
            self._volume.shared.fetcher.ahead(wanted)

    def _maps(self, contents: Sequence[ContentId]) -> dict[ContentId, tuple[Extent, ...]]:
        """Those that are not known yet."""
        maps = self._volume.maps
        epoch = maps.epoch
        lacking = list({content for content in contents if content not in maps})
        found: dict[ContentId, tuple[Extent, ...]] = {}
        for at in range(0, len(lacking), EXTENTS_OF_MAX):
            found |= self._volume.namespace.extents_of(lacking[at : at + EXTENTS_OF_MAX])
        maps.add(found, epoch)
        return found
