"""A direct mount with ``durability=local``: a mount of a daemon that is in the same process.

The journal, its recovery, and sessions that outlive their process are those of a mount of a daemon. A call
within the process costs 0.3 ms; what answers ``fsync`` here is the journal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from graviton_server.cli import output
from graviton_server.cli.daemon import Ready
from graviton_server.cli.diskcache import MEMORY
from graviton_server.cli.memory import memory_budget
from graviton_server.cli.options import Choices
from graviton_server.cli.remote import run_over
from graviton_server.cli.serving import Serving, check_apart
from graviton_server.control.answers import MountPoint
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.errors import GravitonError

if TYPE_CHECKING:
    from graviton_server.config.load import Loaded

VOLUME: Final = "main"


def run_journalled(loaded: Loaded, data: Path, mountpoint: Path, choices: Choices, ready: Ready) -> None:
    """Serve the mount until it is taken away or a signal comes; all is stored when this returns."""
    shown = str(data if loaded.document is None else loaded.document.path)
    half = (choices.memory or memory_budget(MEMORY)) // 2
    outside = choices._replace(memory=half)
    # What the engine does already is not done again.
    inside = outside._replace(disk_cache=None, metrics=None, upload_limit=None, download_limit=None)
    where = MountPoint(str(mountpoint), "/" + choices.subdir.strip("/"), choices.ro)
    check_apart(data, mountpoint)
    with Serving(data, "mount", outside, create=True, config=loaded.config) as serving:
        endpoint = Endpoint((serving.serve_privately(loaded.config, loaded.surroundings),))

        def answering() -> None:
            serving.service.mounted(where)
            ready()

        failure = None
        try:
            described = serving.describe(where) | {"source": shown}
            run_over(endpoint, VOLUME, shown, mountpoint, inside, answering, described)
        except GravitonError as error:
            failure = error
            raise
        finally:
            serving.service.unmounted(where.path, failure)
        output.say("unmounting: storing everything")
