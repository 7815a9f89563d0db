"""The process behind ``up``, ``mount`` and ``webdav``: an engine, its front ends, and how they end."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from graviton_server.cli import output, supervised
from graviton_server.cli.engines import engine_options, open_store
from graviton_server.cli.memory import share_heaps
from graviton_server.cli.options import Choices
from graviton_server.control.answers import MountPoint
from graviton_server.control.service import Service
from gravitonfs.core.units import format_size
from gravitonfs.errors import GravitonError, Invalid

if TYPE_CHECKING:
    from graviton_server.cli.limits import SharedLimits
    from graviton_server.config.environment import Surroundings
    from graviton_server.config.sections import Config
    from graviton_server.grpc_api.server import GrpcServer
    from graviton_server.http_api.server import HttpServer
    from graviton_webdav.app import WebDavServer
    from gravitonfs.content.volume import Volume
    from gravitonfs.fuse.mount import Mount
    from gravitonfs.ports.namespace import Claims, Listener, Recall

_COMMANDS_FINISH_WITHIN = 10.0
_TELL_EVERY = 1.0
_LOOK_FOR_SIGNALS = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Serving:
    """One open volume and what serves it. A context manager: leaving it stores everything."""

    def __init__(
        self,
        data: Path,
        role: str,
        choices: Choices,
        *,
        create: bool = False,
        config: Config | None = None,
    ) -> None:
        """``config``: says where names and packs are, in place of all in ``data``."""
        share_heaps()
        options = engine_options(choices)
        self.service = Service(open_store(data, options, create=create, config=config), role)
        self._choices = choices
        self._ends = ExitStack()
        self._ends.callback(self.service.close, wait=_COMMANDS_FINISH_WITHIN)
        try:
            self.service.listen()
            if choices.metrics is not None:
                self.export_metrics(*choices.metrics)
        except BaseException:
            self._ends.close()
            raise

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        supervised.tell("STOPPING=1")
        for number in _STOP_SIGNALS:
            signal.signal(number, self._be_patient)
        try:
            self._ends.close()
        except GravitonError as another:
            if not isinstance(error, GravitonError):
                raise
            output.say(str(another))  # what failed first tells more, and is what the process ends with

    def _be_patient(self, number: int, _: FrameType | None) -> None:
        """Another Ctrl-C does not make it quicker, and must not lose anything."""
        output.say(f"still storing, {format_size(self.service.pending_bytes())} left")

    def serve_webdav(
        self, config: Config, limits: SharedLimits, *, insecure: bool, read_only: bool = False
    ) -> str:
        """Start the gateway as the configuration says; returns its address."""
        from graviton_server.cli.http import webdav_server

        return self._started(
            webdav_server(self.service, config, limits, insecure=insecure, read_only=read_only)
        )

    def _started(self, server: WebDavServer) -> str:
        server.start()
        self._ends.callback(self._stop_webdav, server)
        self.service.webdav_server = server
        return server.url

    def serve_grpc(
        self, config: Config, surroundings: Surroundings, limits: SharedLimits, *, insecure: bool
    ) -> str:
        """Start answering gRPC; returns its address."""
        from graviton_server.cli.grpc import grpc_server

        server = grpc_server(self.service, config, surroundings, limits, insecure=insecure)
        server.start()
        self._ends.callback(self._stop_grpc, server)
        self.service.grpc = server.address
        return server.address

    def serve_privately(self, config: Config, surroundings: Surroundings) -> str:
        """gRPC for this process alone; returns the address."""
        from graviton_server.cli.grpc import private_server

        folder = Path(tempfile.mkdtemp(prefix="graviton-"))  # nobody else may enter it
        self._ends.callback(shutil.rmtree, folder, ignore_errors=True)
        server = private_server(self.service, config, surroundings, folder / "grpc")
        server.start()
        self._ends.callback(server.stop)
        return server.address

    def _stop_grpc(self, server: GrpcServer) -> None:
        self.service.grpc = self.service.grpc_tallies = None
        server.stop()

    def serve_http(
        self, config: Config, surroundings: Surroundings, limits: SharedLimits, *, insecure: bool
    ) -> str:
        """Start the HTTP API; returns its address."""
        from graviton_server.cli.http import http_server

        server = http_server(self.service, config, surroundings, limits, insecure=insecure)
        server.start()
        self._ends.callback(self._stop_http, server)
        self.service.http = server.url
        return server.url

    def _stop_http(self, server: HttpServer) -> None:
        self.service.http = self.service.tallies = None
        server.stop()

    def export_metrics(self, host: str, port: int) -> None:
        """/metrics on a port of its own, without TLS or authentication."""
        from graviton_server.metrics import export, registry_of

        self._ends.callback(export(registry_of(self.service), host, port))

    def _stop_webdav(self, server: WebDavServer) -> None:
        self.service.webdav_server = None
        server.stop()

    def run_mount(self, mountpoint: Path, ready: Callable[[], None]) -> None:
        """Serve the mount until it is taken away or a signal comes; all is stored when this returns."""
        from gravitonfs.fuse.mount import Mount, MountOptions

        check_apart(self.service.engine.path, mountpoint)
        choices = self._choices
        where = MountPoint(str(mountpoint), "/" + choices.subdir.strip("/"), choices.ro)
        mount = Mount(
            self._attach,
            mountpoint,
            MountOptions(
                read_only=choices.ro,
                allow_other=choices.allow_other,
                subdir=choices.subdir,
                uid=choices.uid,
                gid=choices.gid,
                umask=choices.umask,
                extra=choices.restrictions,
                timeout=choices.timeout,
                drain_timeout=choices.drain_timeout,
                mounter=choices.mounter,
                cache_seconds=None if self.service.engine.shared else MountOptions.cache_seconds,
            ),
            space=self.service.engine.space,
            describe=lambda: self.describe(where),
        )

        def answering() -> None:
            self.service.mounted(where)
            ready()

        forget = self.service.engine.maintenance.ask_writing(mount.vfs.writing)
        failure = None
        try:
            with self._telling(mount):
                mount.run(answering)
        except GravitonError as error:
            failure = error
            raise
        finally:
            forget()
            self.service.unmounted(where.path, failure)

    def _attach(self, claims: Claims, listener: Listener, recall: Recall) -> Volume:
        engine, read_only = self.service.engine, self._choices.ro
        if not engine.shared:
            return engine.volume("mount", claims, listener, read_only=read_only)
        names = engine.options.names_limit
        return engine.volume("mount", claims, listener, read_only=read_only, recall=recall, names=names)

    def describe(self, where: MountPoint) -> dict[str, object]:
        """What ``graviton`` needs to find from a path in the mount to the volume behind it."""
        return {
            "data": str(self.service.data.resolve()),
            "mountpoint": where.path,
            "subdir": where.subdir,
            "read_only": where.read_only,
            "pid": os.getpid(),
        }

    @contextmanager
    def _telling(self, mount: Mount) -> Iterator[None]:
        """While a stopping mount stores what it holds, say how much is left."""
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(_TELL_EVERY):
                left = self.service.pending_bytes()
                if mount.stopping and left:
                    output.say(f"storing what is left: {format_size(left)}")
                    supervised.storing(format_size(left))

        thread = threading.Thread(target=tell, name="telling", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def check_apart(data: Path, mountpoint: Path) -> None:
    """A mount over the volume's own files would wait for itself for ever. Raises Invalid."""
    place = Path(os.path.realpath(mountpoint))  # of a dead mount, too: what cannot be looked at is no link
    volume = Path(os.path.realpath(data))
    if place == volume or place in volume.parents or volume in place.parents:
        raise Invalid(f"{mountpoint} and the volume's directory {data} lie in each other: mount it elsewhere")


def terminate_like_interrupt() -> None:
    """Until a front end takes the signals over, SIGTERM unwinds as Ctrl-C does."""

    def unwind(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, unwind)


def until_signal(ready: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT. ``ready`` says that everything answers; who hears it may stop us at once."""
    stop = threading.Event()

    def stopping(number: int, _: FrameType | None) -> None:
        stop.set()

    for number in _STOP_SIGNALS:
        signal.signal(number, stopping)
    ready()
    # A signal that the system hands to another thread wakes nobody here: look from time to time.
    while not stop.wait(_LOOK_FOR_SIGNALS):
        pass


def announce(text: str) -> None:
    """The line that scripts wait for."""
    gc.freeze()  # what was imported stays: going through it again and again holds everybody up for 80 ms
    sys.stdout.write(f"ready {text}\n")
    sys.stdout.flush()
    supervised.tell("READY=1", f"STATUS=ready {text}")
