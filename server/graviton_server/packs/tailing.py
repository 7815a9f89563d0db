"""Learning of the packs of other engines, by tailing their rows, which carry the footers."""

from __future__ import annotations

import logging
import threading

from graviton_server.index import COMPLETE, PackMark
from graviton_server.packs.catalog import Catalog
from graviton_server.packs.format import Records, pack_key
from graviton_server.packs.recovery import entries
from gravitonfs.errors import Damaged, GravitonError, NotFound
from gravitonfs.ports.packs import PackNews, PackRegistry, PackRow, PackState

_log = logging.getLogger(__name__)

_PAGE = 64


class Tailing:
    """``_lock`` is held by whoever asks the database; it guards the attributes."""

    def __init__(self, registry: PackRegistry, catalog: Catalog, owner: str) -> None:
        self._registry = registry
        self._catalog = catalog
        self._owner = owner
        self._lock = threading.Lock()
        self._position = 0
        self._begun = 0
        self._found = False
        self._quiet = True

    def enroll(self) -> None:
        """Before the rows are read for the first time: what changes later is told here."""
        with self._lock:
            self._position = self._registry.enroll(self._owner)

    def learn(self) -> bool:
        """Take in everything published before this call; whether there was anything new. Callers at the
        same time share one question."""
        begun = self._begun
        with self._lock:
            if self._begun > begun:
                return self._found  # asked and answered while we waited
            self._begun += 1
            try:
                self._found = self._read()
                self._quiet = True
            except GravitonError as error:
                # Not knowing costs duplicate storage, or the look-up goes on elsewhere.
                self._found = False
                if self._quiet:
                    _log.info("what other engines have stored is not known now: %s", error)
                self._quiet = False
            return self._found

    def _read(self) -> bool:
        found = False
        while True:
            news = self._registry.tail(self._owner, self._position, _PAGE)
            for one in news:
                found |= self._take_in(one)
            if news:
                self._position = news[-1].position
            if len(news) < _PAGE:
                return found

    def _take_in(self, news: PackNews) -> bool:
        row = news.row
        if row.state is not PackState.LIVE:
            self._let_go(row)
            return False
        if row.owner == self._owner:
            return False  # sealing has told the index itself
        try:
            self.enter(row, news.footer)
        except (NotFound, Damaged) as error:
            _log.error("pack %d of %s is not in the index: %s", row.number, row.owner, error)
            return False
        return True

    def _let_go(self, row: PackRow) -> None:
        """Most of these were never live: nothing of them is in the index, and nothing is looked up."""
        mark = self._catalog.index.mark(row.uuid)
        if mark is not None and mark.through:
            self._catalog.forget(row.number)

    def enter(self, row: PackRow, footer: bytes) -> None:
        """Put a pack into the index, from the footer that its row carried, else from the target."""
        key = pack_key(row.uuid)
        if footer:
            records = Records.decode(footer)
            self._catalog.told(row.number, row.uuid, row.length, records)
        else:
            records = self._catalog.footers.get(key, row.length)
        mark = PackMark(row.number, COMPLETE)
        self._catalog.index.write(row.uuid, mark, entries(row.number, records))

    def leave(self) -> None:
        with self._lock:
            try:
                self._registry.leave(self._owner)
            except GravitonError as error:
                _log.info("leaving: %s", error)
