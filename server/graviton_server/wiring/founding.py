"""Where a load makes a store: which database, and which targets it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import Buffer

from graviton_server.maintenance.reports import Loaded
from graviton_server.wiring.loading import check_empty, check_free, load_postgres, load_sqlite
from graviton_server.wiring.options import EngineOptions
from graviton_server.wiring.targets import Location, configured_rows, new_row, own_row
from gravitonfs.errors import Invalid
from gravitonfs.ports.replicas import TargetRow

if TYPE_CHECKING:
    from graviton_server.config.sections import Config

_BUCKET = "s3://"


class Place(NamedTuple):
    """``rows``: where packs and dumps are, the store's own target first. ``embedded``: names and packs are in
    one directory. ``check``: Exists where there is a store. ``load``: raises as ``load_sqlite`` does."""

    rows: Sequence[TargetRow]
    embedded: bool
    check: Callable[[], None]
    load: Callable[[Iterable[Buffer]], Loaded]


def place_of(config: Config | None, data: Path, others: Sequence[str]) -> Place:
    """Of a configuration, else of the volume in ``data``. ``others``: further targets to read from."""
    more = [_other(text) for text in others]
    if config is None:
        rows = [own_row(data)]
        return Place(
            rows + more, True, lambda: check_free(data), lambda source: load_sqlite(data, rows, source)
        )
    home = Path(config.data_dir)
    found = configured_rows(home, config)
    if config.database.jdbc_url is None:
        return Place(
            found + more, False, lambda: check_free(home), lambda source: load_sqlite(home, found, source)
        )
    from graviton_server.wiring.configured import database_settings

    settings = database_settings(config, EngineOptions())
    return Place(
        found + more,
        False,
        lambda: check_empty(settings),
        lambda source: load_postgres(settings, found, source),
    )


def _other(text: str) -> TargetRow:
    if text.startswith(_BUCKET):
        bucket, _, rest = text.removeprefix(_BUCKET).partition("/")
        if rest:
            raise Invalid(f"{text}: a bucket as a whole is a target, not a part of one")
        return new_row(text, "s3", Location(bucket=bucket))
    return new_row(text, "directory", Location(path=str(Path(text).absolute())))
