"""Puts the gRPC port together over an open engine."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from graviton_server.auth.exposure import check_exposure
from graviton_server.cli.http import Checks, make_authenticator
from graviton_server.cli.limits import SharedLimits
from graviton_server.config.environment import Surroundings
from graviton_server.config.sections import Config
from graviton_server.control.service import Service
from graviton_server.control.tallies import Tallies
from graviton_server.grpc_api.backend import backend_of
from graviton_server.grpc_api.principals import Authenticate, Credentials, Principal, anyone
from graviton_server.grpc_api.server import GrpcServer
from graviton_server.grpc_api.settings import GrpcSettings, TlsFiles

log = logging.getLogger("graviton")


def grpc_settings(config: Config, surroundings: Surroundings) -> GrpcSettings:
    grpc, constraints = config.server.grpc, config.constraints
    return GrpcSettings(
        host=grpc.host,
        port=grpc.port,
        tls=_tls(config),
        max_message_size=grpc.max_message_size,
        keepalive_time=grpc.keepalive_time,
        request_timeout=config.server.http.request_timeout,
        max_concurrent_uploads=constraints.max_concurrent_uploads,
        max_blob_size=constraints.max_blob_size,
        correlation_header=config.logging.correlation_id_header,
        reveal_internals=not surroundings.production,
    )


def _tls(config: Config) -> TlsFiles | None:
    tls = config.server.grpc.tls
    if not tls.enabled or tls.cert_chain_file is None or tls.private_key_file is None:
        return None
    authorities = tls.trust_cert_collection_file
    return TlsFiles(
        Path(tls.cert_chain_file),
        Path(tls.private_key_file),
        None if authorities is None else Path(authorities),
    )


def grpc_server(
    service: Service, config: Config, surroundings: Surroundings, limits: SharedLimits, *, insecure: bool
) -> GrpcServer:
    """Raises Invalid where it would be open to others without that being meant."""
    judge = make_authenticator(service, config)
    tls = config.server.grpc.tls
    guarded = judge is not None or (tls.enabled and tls.trust_cert_collection_file is not None)
    warning = check_exposure(
        "gRPC", config.server.grpc.host, guarded=guarded, auth=config.auth, insecure=insecure
    )
    if warning is not None:
        log.warning("%s", warning)
    authenticate: Authenticate = anyone
    if judge is not None:

        def by_token(credentials: Credentials) -> Principal:
            return judge.authenticate(credentials.token)

        authenticate = by_token
    service.grpc_tallies = Tallies()
    return GrpcServer(
        backend_of(service.engine, whole_store=config.dedupe_scope == "store"),
        grpc_settings(config, surroundings),
        authenticate,
        rate_in=limits.rate_in,
        rate_out=limits.rate_out,
        slots=limits.slots,
        tallies=service.grpc_tallies,
        pool=service.pool,
        ready=Checks(service).good,
    )


def private_server(service: Service, config: Config, surroundings: Surroundings, socket: Path) -> GrpcServer:
    """Behind a socket that this process alone reaches: there is nobody to keep out, or to pace."""
    settings = replace(grpc_settings(config, surroundings), socket=socket, tls=None)
    return GrpcServer(backend_of(service.engine, whole_store=True), settings, pool=service.pool)
