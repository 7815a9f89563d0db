"""Puts the WebDAV gateway together as the configuration says, over whoever attaches its volume."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from graviton_server.auth.authenticator import Authenticator
from graviton_server.auth.exposure import WEBDAV, check_exposure
from graviton_server.cli.limits import SharedLimits
from graviton_server.config.sections import Config
from graviton_server.http_api.transfers import Limits
from graviton_webdav.app import WebDavServer
from graviton_webdav.auth import Guard
from graviton_webdav.basic_auth import UsersGuard
from graviton_webdav.token_auth import EverybodyGuard, TokenGuard
from gravitonfs.content.pool import Attached

log = logging.getLogger("graviton")

_REALM = "Graviton"


def dav_server(
    attached: Callable[[], AbstractContextManager[Attached]],
    volume: str,
    judge: Authenticator | None,
    space: Callable[[], int | None],
    config: Config,
    limits: SharedLimits,
    *,
    insecure: bool,
    read_only: bool = False,
) -> WebDavServer:
    """``judge``: of tokens, where authentication is on. Raises Invalid where it would be open to others
    without that being meant."""
    dav = config.webdav
    users = UsersGuard(Path(dav.users_file), _REALM) if dav.users_file is not None else None
    guard: Guard | None = users
    if judge is not None:
        guard = TokenGuard(judge.authenticate, volume, _REALM, users)
    warning = check_exposure(WEBDAV, dav.host, guarded=guard is not None, auth=config.auth, insecure=insecure)
    if warning is not None:
        log.warning("%s", warning)
        guard = EverybodyGuard()
    timeout = config.server.http.request_timeout
    return WebDavServer(
        attached,
        host=dav.host,
        port=dav.port,
        certificate=Path(dav.tls.cert_file) if dav.tls.enabled and dav.tls.cert_file else None,
        private_key=Path(dav.tls.key_file) if dav.tls.enabled and dav.tls.key_file else None,
        guard=guard,
        space=space,
        correlation_header=config.logging.correlation_id_header,
        timeout=timeout,
        max_file_size=config.constraints.max_blob_size,
        traffic=Limits(limits.slots, limits.rate_in, limits.rate_out, timeout),
        read_only=read_only,
    )
