"""A volume with what the gateway's code makes of it: paths, locks, conditions, downloads."""

from __future__ import annotations

from graviton_webdav.conditions import Conditions
from graviton_webdav.download import Download
from graviton_webdav.locks import Locks
from graviton_webdav.resources import Resources
from gravitonfs.content.pool import Attached


class Shelf:
    """Thread-safe. Files that WebDAV clients have locked are locked for the API, too."""

    def __init__(self, attached: Attached) -> None:
        self.volume = volume = attached.volume
        self.resources = Resources(volume)
        self.locks = Locks(volume)
        self.conditions = Conditions(self.resources, self.locks)
        self.download = Download(self.resources, self.conditions)
