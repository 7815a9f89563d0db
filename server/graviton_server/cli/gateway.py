"""The WebDAV gateway of a daemon's volume: a session that is attached while somebody uses it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from graviton_server.cli.diskcache import MEMORY, MountDiskCache
from graviton_server.cli.memory import memory_budget
from graviton_server.cli.options import Choices
from graviton_server.cli.pacing import limited, pace
from gravitonfs.errors import Invalid, Unavailable, Unsupported

if TYPE_CHECKING:
    from graviton_server.config.load import Loaded
    from graviton_server.config.sections import Config
    from graviton_webdav.app import WebDavServer
    from gravitonfs.client.administration import Allowance
    from gravitonfs.client.volumes import RemoteVolume
    from gravitonfs.content.pool import VolumePool

UNBOUNDED = 1 << 62
_GRACE = 10.0
"""Seconds in which requests may finish when the gateway ends."""


def gateway_config(loaded: Loaded | None, listen: tuple[str, int] | None, users: str | None) -> Config:
    """What is configured, else the defaults; beneath what flags say."""
    from graviton_server.config.sections import Config

    if loaded is not None:
        config = loaded.config
    else:  # the volume's format bounds files, as those of a mount
        config = replace(Config(), constraints=replace(Config().constraints, max_blob_size=UNBOUNDED))
    dav = config.webdav
    if listen is not None:
        dav = replace(dav, host=listen[0], port=listen[1])
    if users is not None:
        dav = replace(dav, users_file=os.path.abspath(users))
    return replace(config, webdav=dav)


class RemoteGateway:
    """A context manager: leaving it answers what has begun, and ends the session."""

    def __init__(self, source: str, choices: Choices, config: Config, *, insecure: bool) -> None:
        """Attached once, so that what is wrong with the source is told at the start."""
        from gravitonfs.client.connection import Connection
        from gravitonfs.client.endpoint import Endpoint
        from gravitonfs.content.pool import VolumePool

        endpoint, self._volume, path = Endpoint.parse(source)
        if path:
            raise click.UsageError(f"{source}: the gateway serves the root of a volume: leave {path} away")
        self._ends = ExitStack()
        self._choices = choices
        self._memory = choices.memory or memory_budget(MEMORY)
        self._upload, self._download = pace(choices.upload_limit), pace(choices.download_limit)
        self._disk = MountDiskCache(choices.disk_cache, source)
        self._connection = Connection(
            endpoint.with_options(
                token_file=choices.token_file,
                ca_file=choices.ca_file,
                cert_file=choices.cert_file,
                key_file=choices.key_file,
            )
        )
        self._ends.callback(self._connection.close)
        self._ends.callback(self._disk.close)
        self._pool: VolumePool = VolumePool(self._attach, durable=True)
        self._ends.callback(self._pool.close)
        with self._closed_on_error():
            try:
                with self._pool.use(self._volume):
                    pass
            except Unavailable as error:
                raise Unavailable(f"{endpoint}: {error}") from error
            self._check_tokens(config)
            self._server = self._served(config, insecure=insecure)
            self._server.start()
            self._ends.callback(self._stop)
            self._export()

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> RemoteGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _stop(self) -> None:
        """Requests that wait for a daemon that is away are given up after a while."""
        timer = threading.Timer(_GRACE, self._connection.close)
        timer.start()
        try:
            self._server.stop(_GRACE)
        finally:
            timer.cancel()

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._ends.close()
            raise

    def _attach(self, name: str) -> RemoteVolume:
        """Without a lease: what others change has to be seen by the next request."""
        from gravitonfs.client.volumes import open_volume

        choices = self._choices
        return open_volume(
            self._connection,
            name,
            label=f"webdav pid {os.getpid()}",
            read_only=choices.ro,
            timeout=choices.timeout,
            memory=self._memory,
            wrap=lambda blocks, names: self._disk.around(
                limited(blocks, self._upload, self._download), names
            ),
            pace=self._upload,
        )

    def _allowed(self, token: str | None) -> Allowance:
        from gravitonfs.client.administration import Allowance, who_am_i

        try:
            return who_am_i(self._connection, self._volume, timeout=self._choices.timeout, token=token)
        except Unsupported:  # a daemon of an older version
            return Allowance("", judged=False, read=False, write=False)

    def _check_tokens(self, config: Config) -> None:
        """Somebody can be let in."""
        from graviton_server.auth.authenticator import is_on

        if not is_on(config.auth) or config.auth.jwt.jwks_url is not None or config.webdav.users_file:
            return
        if not self._allowed(None).judged:
            raise Invalid(
                "graviton.auth.enabled: the daemon judges no tokens (authentication is off there, or it is"
                " older): give the gateway a users file (--users), or graviton.auth.jwt"
            )

    def _served(self, config: Config, *, insecure: bool) -> WebDavServer:
        from graviton_server.auth.authenticator import authenticator
        from graviton_server.auth.daemontokens import DaemonTokens
        from graviton_server.cli.davserver import dav_server
        from graviton_server.cli.limits import SharedLimits

        return dav_server(
            lambda: self._pool.use(self._volume),
            self._volume,
            authenticator(config.auth, DaemonTokens(self._volume, self._allowed)),
            self._free,
            config,
            SharedLimits(config),
            insecure=insecure,
            read_only=self._choices.ro,
        )

    def _free(self) -> int:
        from gravitonfs.client.volumes import RemoteVolume

        with self._pool.use(self._volume) as attached:
            assert isinstance(attached.volume, RemoteVolume)
            return attached.volume.space().free

    def _export(self) -> None:
        if self._choices.metrics is None:
            return
        from graviton_server.metrics import export, gateway_registry

        self._ends.callback(export(gateway_registry(self._server), *self._choices.metrics))
