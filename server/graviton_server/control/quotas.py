"""Quotas by the paths of their directories: for the control socket, the HTTP API and gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graviton_server.control import store_requests
from graviton_server.control.answers import CheckedQuota, QuotaInfo
from graviton_server.control.calls import Cancelled, Channel
from graviton_server.control.paths import directory, split
from graviton_server.control.service import Service
from graviton_server.control.shown import name_fields
from graviton_server.control.wire import Event
from gravitonfs.core.ids import Ino
from gravitonfs.errors import GravitonError, NotFound
from gravitonfs.ports.namespace import Namespace
from gravitonfs.ports.quotas import QuotaCheck, QuotaRow, Quotas


class Named(NamedTuple):
    """A quota, and where its directory is now."""

    path: bytes
    row: QuotaRow


class QuotaAdmin:
    """Of one volume. ``namespace``: any session of it, for paths."""

    def __init__(self, quotas: Quotas, namespace: Namespace) -> None:
        self._quotas = quotas
        self._namespace = namespace

    def all(self) -> list[Named]:
        """By path; those of directories that are gone are left out."""
        found = [(self._path(row.directory), row) for row in self._quotas.rows(self._namespace.volume)]
        return sorted(Named(path, row) for path, row in found if path is not None)

    def set(self, path: bytes, max_bytes: int | None, max_inodes: int | None) -> Named:
        """See ``Quotas``. NotFound, NotADirectory."""
        at = self._at(path)
        return Named(clean(path), self._quotas.set(self._namespace.volume, at, max_bytes, max_inodes))

    def delete(self, path: bytes) -> None:
        """NotFound."""
        self._quotas.delete(self._namespace.volume, self._at(path))

    def check(
        self, path: bytes | None, *, repair: bool, each: Callable[[int, int], None] = lambda done, of: None
    ) -> list[tuple[bytes, QuotaCheck]]:
        """One, or all, each at its own moment."""
        wanted = (
            [(one.path, one.row.directory) for one in self.all()]
            if path is None
            else [(clean(path), self._at(path))]
        )
        checked = []
        for done, (where, ino) in enumerate(wanted):
            each(done, len(wanted))
            checked.append((where, self._quotas.check(self._namespace.volume, ino, repair=repair)))
        return checked

    def _at(self, path: bytes) -> Ino:
        return directory(self._namespace, path).ino

    def _path(self, ino: Ino) -> bytes | None:
        names: list[bytes] = []
        try:
            while ino != self._namespace.root:
                above = self._namespace.parent(ino)
                if above is None:
                    return None
                ino, name = above
                names.append(name)
        except GravitonError:
            return None
        return b"/" + b"/".join(reversed(names))


def clean(path: bytes) -> bytes:
    return b"/" + b"/".join(split(path))


def handle_list(service: Service, request: store_requests.ListQuotas, _: Channel) -> list[QuotaInfo]:
    with service.pool.volume(request.volume) as volume:
        found = QuotaAdmin(service.engine.namespace_store.quotas, volume.namespace).all()
    return [told(*one) for one in found]


def handle_get(service: Service, request: store_requests.GetQuota, _: Channel) -> QuotaInfo:
    with service.pool.volume(request.volume) as volume:
        at = directory(volume.namespace, request.path).ino
    for row in service.engine.namespace_store.quotas.rows(request.volume):
        if row.directory == at:
            return told(clean(request.path), row)
    raise NotFound("this directory has no quota: 'graviton quota list' tells which have")


def handle_set(service: Service, request: store_requests.SetQuota, _: Channel) -> QuotaInfo:
    with service.pool.volume(request.volume) as volume:
        admin = QuotaAdmin(service.engine.namespace_store.quotas, volume.namespace)
        return told(*admin.set(request.path, request.max_bytes, request.max_inodes))


def handle_delete(service: Service, request: store_requests.DeleteQuota, _: Channel) -> None:
    with service.pool.volume(request.volume) as volume:
        QuotaAdmin(service.engine.namespace_store.quotas, volume.namespace).delete(request.path)


def handle_check(
    service: Service, request: store_requests.CheckQuotas, channel: Channel
) -> list[CheckedQuota]:
    def each(done: int, of: int) -> None:
        if channel.cancelled.is_set():
            raise Cancelled
        channel.event(Event(done, of, "quotas"))

    with service.pool.volume(request.volume) as volume:
        admin = QuotaAdmin(service.engine.namespace_store.quotas, volume.namespace)
        checked = admin.check(request.path, repair=request.repair, each=each)
    return [told_check(path, one) for path, one in checked]


def told(path: bytes, row: QuotaRow) -> QuotaInfo:
    return QuotaInfo(
        **name_fields(path, "path"),
        max_bytes=row.max_bytes,
        max_inodes=row.max_inodes,
        bytes=row.bytes,
        inodes=row.inodes,
        counting=row.counting,
    )


def told_check(path: bytes, one: QuotaCheck) -> CheckedQuota:
    return CheckedQuota(told(path, one.row), one.bytes, one.inodes, one.right, one.repaired)
