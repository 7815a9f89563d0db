"""Limits on PostgreSQL: changed with the gate closed, and counted in a view of one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from graviton_server.namespace.postgres.upkeep import VOLUMES
from graviton_server.namespace.quota_rows import SqlQuotas
from graviton_server.namespace.sessions import Volume
from gravitonfs.errors import NotFound

if TYPE_CHECKING:
    from graviton_server.namespace.postgres.store import PostgresStore
    from graviton_server.namespace.store import NamespaceStore

_TOTALS: Final = f"SELECT logical_bytes, inodes FROM ({VOLUMES}) v WHERE id = %s"


class PostgresQuotas(SqlQuotas):
    """Implements ``Quotas``."""

    def __init__(self, store: PostgresStore) -> None:
        super().__init__(cast("NamespaceStore", store))
        self._postgres = store

    def _read(self, sql: str, params: tuple[Any, ...]) -> list[Any]:
        return self._postgres.ask_shared(sql, params)

    def _number(self, volume: str) -> Volume:
        return self._postgres.roster.named(volume)

    def _alter(self, volume: str, call: Callable[..., None], *args: Any) -> None:
        self._postgres.upkeep.again(self._behind_gate, volume, call, args)

    def _behind_gate(self, name: str, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        work = self._postgres.work
        with work.lock:
            work.close_gate()
            for volume in work.volumes_by_number().values():
                if volume.name == name:
                    exchange = work.scope_of_thread().exchange
                    size, inodes = exchange.query((_TOTALS, (volume.id,)))[0]
                    call(work.execute, replace(volume, logical_bytes=size, inodes=inodes), *args)
                    work.commit()
                    return
        raise NotFound(f"there is no volume {name!r}")
