"""Starting and stopping the gRPC port."""

from __future__ import annotations

import logging
import threading
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
from graviton_server.grpc_api.namespace_service import NamespaceService
from graviton_server.grpc_api.principals import Authenticate, anyone
from graviton_server.grpc_api.rates import Rates
from graviton_server.grpc_api.registration import handlers_of
from graviton_server.grpc_api.session_table import SessionTable
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.grpc_api.vetting import Vet, Vetting
from graviton_server.grpc_api.volume_pool import VolumePool
from graviton_server.limits import ByteRate, UploadSlots
from gravitonfs.errors import Busy
from gravitonfs.rpc.graviton.v1 import admin_pb2, blobs_pb2, blocks_pb2, namespace_pb2

if TYPE_CHECKING:
    from graviton_server.wiring import Engine

log = logging.getLogger("graviton.grpc")

_LOOK: Final = 1.0


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
    ) -> None:
        """Rates and slots may be shared with other front ends. ``vet``: what batches may do (``Vetting``)."""
        settings.check()
        self.settings = settings
        self.tallies = tallies or Tallies()
        self.sessions = SessionTable(backend, settings.lease, settings.request_timeout / 2)
        self._pool = VolumePool(backend, settings.idle_volume)
        self._guard = Guard(settings, authenticate, self.tallies)
        self._health = health.HealthServicer()
        self._threads = ThreadPoolExecutor(settings.max_calls, "grpc")
        self._server = grpc.server(
            self._threads, options=_options(settings), maximum_concurrent_rpcs=settings.max_calls
        )
        rates = Rates(rate_in, rate_out, settings.request_timeout)
        services = {
            blobs_pb2.DESCRIPTOR.services_by_name["BlobService"]: BlobService(
                backend,
                self._pool,
                settings,
                self.tallies,
                rates,
                slots or UploadSlots(settings.max_concurrent_uploads),
            ),
            blocks_pb2.DESCRIPTOR.services_by_name["BlockService"]: BlockService(backend, settings, rates),
            namespace_pb2.DESCRIPTOR.services_by_name["NamespaceService"]: NamespaceService(
                backend, self.sessions, vet or Vetting(backend), settings
            ),
            admin_pb2.DESCRIPTOR.services_by_name["AdminService"]: AdminService(
                backend, self.sessions, self._pool
            ),
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
        self._stopping = threading.Event()
        self._tending = threading.Thread(target=self._tend, name="grpc-tending", daemon=True)

    def _bind(self) -> int:
        address = self.settings.address
        try:
            if self.settings.tls is not None:
                return self._server.add_secure_port(address, server_credentials(self.settings.tls))
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Busy(f"{address} cannot be listened on: is something else using it?") from error

    @property
    def address(self) -> str:
        """HOST:PORT, with the port that was bound."""
        return self.settings.address.rpartition(":")[0] + f":{self.port}"

    def start(self) -> None:
        self._server.start()
        self._tending.start()
        self.serving(True)
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
        self._threads.shutdown()
        if self._tending.is_alive():
            self._tending.join()
        self._pool.close()

    def _tend(self) -> None:
        """What has to happen now and then: leases, overdue calls, idle volumes."""
        while not self._stopping.wait(_LOOK):
            try:
                self._guard.overdue()
                self.sessions.expire()
                self._pool.let_go()
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
