"""Starting and stopping the gRPC port."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from graviton_server.control.tallies import Tallies
from graviton_server.grpc_api.admin_service import AdminService
from graviton_server.grpc_api.backend import Backend, backend_of
from graviton_server.grpc_api.blob_service import BlobService
from graviton_server.grpc_api.block_service import BlockService
from graviton_server.grpc_api.calls import Guard
from graviton_server.grpc_api.credentials import server_credentials
from graviton_server.grpc_api.listening import listen
from graviton_server.grpc_api.namespace_service import NamespaceService
from graviton_server.grpc_api.principals import Authenticate, anyone
from graviton_server.grpc_api.rates import Rates
from graviton_server.grpc_api.reach import Reach, Stamps
from graviton_server.grpc_api.registration import handlers_of
from graviton_server.grpc_api.session_table import SessionTable
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.grpc_api.shard_service import ShardService
from graviton_server.grpc_api.vetting import Vet, Vetting
from graviton_server.limits import ByteRate, UploadSlots
from gravitonfs.content.pool import VolumePool
from gravitonfs.rpc.graviton.v1 import admin_pb2, blobs_pb2, blocks_pb2, namespace_pb2, shards_pb2

if TYPE_CHECKING:
    from graviton_server.wiring import Engine

log = logging.getLogger("graviton.grpc")

_LOOK: Final = 1.0
_HEALTH: Final = 2.0
_LAST: Final = 3.0


class GrpcServer:
    """A port that answers. ``stop`` lets running calls end; sessions live on in the database."""

    def __init__(
        self,
        backend: Backend,
        settings: GrpcSettings,
        authenticate: Authenticate = anyone,
        *,
        rate_in: ByteRate | None = None,
        rate_out: ByteRate | None = None,
        slots: UploadSlots | None = None,
        tallies: Tallies | None = None,
        vet: Vet | None = None,
        pool: VolumePool | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """Rates, slots and the pool may be shared with other front ends. ``vet``: what batches may do
        (``Vetting``). ``ready``: asked every few seconds, for those who check this port's health."""
        settings.check()
        self.settings = settings
        self._hurry = backend.hurry
        self.tallies = tallies or Tallies()
        self.sessions = SessionTable(backend, settings.lease, settings.request_timeout / 2)
        self._own_pool = VolumePool(backend.volume, settings.idle_volume) if pool is None else None
        pool = pool or self._own_pool
        assert pool is not None
        self._guard = Guard(settings, authenticate, self.tallies)
        self._health = health.HealthServicer()
        self._threads = ThreadPoolExecutor(settings.max_calls, "grpc")
        self._server = grpc.server(
            self._threads, options=_options(settings), maximum_concurrent_rpcs=settings.max_calls
        )
        rates = Rates(rate_in, rate_out, settings.request_timeout)
        self.reach = reach = Reach(backend.sessions, whole_store=backend.whole_store)
        stamps = Stamps(backend.secret)
        services = {
            blobs_pb2.DESCRIPTOR.services_by_name["BlobService"]: BlobService(
                backend,
                pool,
                settings,
                self.tallies,
                rates,
                slots or UploadSlots(settings.max_concurrent_uploads),
            ),
            blocks_pb2.DESCRIPTOR.services_by_name["BlockService"]: BlockService(
                backend, settings, rates, reach
            ),
            namespace_pb2.DESCRIPTOR.services_by_name["NamespaceService"]: NamespaceService(
                backend, self.sessions, vet or Vetting(backend, reach, stamps), settings, reach, stamps
            ),
            admin_pb2.DESCRIPTOR.services_by_name["AdminService"]: AdminService(backend, self.sessions, pool),
            shards_pb2.DESCRIPTOR.services_by_name["ShardService"]: ShardService(backend.shard),
        }
        self._server.add_generic_rpc_handlers(
            tuple(handlers_of(service, it, self._guard) for service, it in services.items())
        )
        self._names = [service.full_name for service in services]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.port = self._bind()
        self._ready = ready
        self._stopping = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="grpc-health", daemon=True)
        self._tending = threading.Thread(target=self._tend, name="grpc-tending", daemon=True)

    def _bind(self) -> int:
        if self.settings.socket is not None:
            return self._server.add_insecure_port(self.settings.address)
        return listen(self.settings.host, self.settings.port, self._add)

    def _add(self, address: str) -> int:
        tls = self.settings.tls
        if tls is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, server_credentials(tls))  # for one address each

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was bound; of a socket, unix:PATH."""
        if self.settings.socket is not None:
            return self.settings.address
        return self.settings.address.rpartition(":")[0] + f":{self.port}"

    def start(self) -> None:
        self._server.start()
        self._tending.start()
        self.serving(True)
        if self._ready is not None:
            self._watching.start()
        log.info("gRPC answers on %s", self.address)

    def serving(self, ready: bool) -> None:
        """What health checks are told: whether the store behind this port can be used."""
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    def stop(self, grace: float | None = None) -> None:
        """Refuse new calls, let running ones end within ``grace`` seconds. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        self.sessions.release_all()
        self._server.stop(self.settings.stop_grace if grace is None else grace).wait()
        self._hurry(_LAST)  # calls that still wait for the database are answered to nobody
        self._threads.shutdown()
        if self._watching.is_alive():
            self._watching.join()
        if self._tending.is_alive():
            self._tending.join()
        if self._own_pool is not None:
            self._own_pool.close()

    def _watch(self) -> None:
        """On a thread of its own: it may wait for a database that is away."""
        before = True
        while self._ready is not None and not self._stopping.wait(_HEALTH):
            now = self._ready()
            if now != before and not self._stopping.is_set():
                before = now
                self.serving(now)
                log.info("gRPC is %s", "ready" if now else "not ready: clients are told to go elsewhere")

    def _tend(self) -> None:
        """What has to happen now and then: leases, overdue calls."""
        while not self._stopping.wait(_LOOK):
            try:
                self._guard.overdue()
                self.sessions.expire()
            except Exception:
                log.exception("the gRPC server's upkeep failed; it goes on")


def _options(settings: GrpcSettings) -> list[tuple[str, int]]:
    keepalive = int(settings.keepalive_time * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_message_size),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", min(keepalive, 20_000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.connection_age_grace * 1000)),
    ]


def serve(
    engine: Engine,
    settings: GrpcSettings,
    authenticate: Authenticate = anyone,
    *,
    rate_in: ByteRate | None = None,
    rate_out: ByteRate | None = None,
    slots: UploadSlots | None = None,
    tallies: Tallies | None = None,
) -> GrpcServer:
    """Start answering for an open engine, which outlives the server. Busy when the address is taken."""
    server = GrpcServer(
        backend_of(engine),
        settings,
        authenticate,
        rate_in=rate_in,
        rate_out=rate_out,
        slots=slots,
        tallies=tallies,
    )
    server.start()
    return server
