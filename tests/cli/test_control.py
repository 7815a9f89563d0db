"""The control socket: who may use it, what it does with strange callers, and how owners come and go."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli.conftest import Shell
from graviton_server.control.calls import Channel
from graviton_server.control.client import NobodyThere, RemoteCaller
from graviton_server.control.handlers import HANDLERS
from graviton_server.control.request import Request
from graviton_server.control.requests import Flush, ListNames, ReadFile, Stat, Warm, WriteFile
from graviton_server.control.service import Service
from graviton_server.control.wire import PROTOCOL, Call, Disconnected, Event, Failed, Hello, Wire
from graviton_server.wiring import EngineOptions, create_embedded, open_embedded
from gravitonfs.errors import Busy, GravitonError, Invalid, NotFound, Unavailable
from harness.users import User
from harness.waiting import wait_until


@pytest.fixture
def service(scratch: Path) -> Iterator[Service]:
    """An owner in this process."""
    data = scratch / "data"
    create_embedded(data)
    owner = Service(open_embedded(data, options=EngineOptions(background=False)), "test")
    owner.listen()
    yield owner
    owner.close(wait=0)


@pytest.fixture
def caller(service: Service) -> Iterator[RemoteCaller]:
    remote = RemoteCaller(service.data)
    yield remote
    remote.close()


def raw(service: Service) -> Wire:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(service.data / "control.sock"))
    return Wire(sock)


def write(caller: RemoteCaller, path: bytes, *pieces: bytes) -> None:
    caller.call(WriteFile(path=path), source=pieces)


def test_the_socket_belongs_to_its_user(service: Service, users: tuple[User, ...]) -> None:
    path = service.data / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    knock = "import socket\nsocket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    assert users[0].python(knock, path) == "EACCES"
    path.chmod(0o777)  # even then the other side looks at who is calling
    told = users[0].python(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nprint(s.recv(999))", path
    )
    assert "only the user who opened the volume" in told


def test_data_of_any_size_travels_both_ways(caller: RemoteCaller) -> None:
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 17):
        body = os.urandom(size)
        write(caller, b"/f", body)
        got: list[bytes] = []
        caller.call(ReadFile(path=b"/f"), sink=lambda data, got=got: got.append(bytes(data)))
        assert b"".join(got) == body


def test_a_reader_that_is_slow_holds_the_writer_back(service: Service, caller: RemoteCaller) -> None:
    """32 MiB asked for and not read: the owner must not gather them in memory."""
    write(caller, b"/big", *[os.urandom(1 << 20) for _ in range(32)])
    sent = 0
    plain = HANDLERS[ReadFile]

    def counting(service: Service, request: ReadFile, channel: Channel) -> object:
        class Counted:
            cancelled = channel.cancelled
            event = channel.event
            receive = channel.receive

            def send(self, data: bytes) -> None:
                nonlocal sent
                channel.send(data)
                sent += memoryview(data).nbytes

        return plain(service, request, Counted())

    HANDLERS[ReadFile] = counting
    try:
        wire = raw(service)
        wire.send(Hello(PROTOCOL, 0))
        wire.receive()
        wire.send(Call("ReadFile", msgspec.Raw(msgspec.msgpack.encode(ReadFile(path=b"/big")))))
        first = wire.receive()
        assert isinstance(first, bytearray)
        wait_until(lambda: sent > 0, "some was sent")
        assert sent < 4 << 20
        wire.close()
    finally:
        HANDLERS[ReadFile] = plain


def test_errors_keep_their_kind_and_sentence(caller: RemoteCaller) -> None:
    with pytest.raises(NotFound, match="/missing does not exist in the volume"):
        caller.call(Stat(path=b"/missing"))
    with pytest.raises(Invalid, match="NUL"):
        caller.call(Stat(path=b"/a\0b"))
    assert caller.call(ListNames(path=b"/")).nodes == []


def test_a_failure_in_the_middle_of_an_upload_leaves_the_connection_usable(caller: RemoteCaller) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 20
            yield bytes(1 << 20)

    with pytest.raises(NotFound):
        caller.call(WriteFile(path=b"/no/such/directory"), source=endless())
    assert sent < 64 << 20
    write(caller, b"/f", b"fine")
    assert caller.call(Stat(path=b"/f")).size == 4


def test_an_upload_that_breaks_off_leaves_nothing(service: Service, caller: RemoteCaller) -> None:
    write(caller, b"/f", b"old")

    def breaks() -> Iterator[bytes]:
        yield bytes(5 << 20)
        raise RuntimeError("the local disk failed")

    with pytest.raises(RuntimeError):
        caller.call(WriteFile(path=b"/f"), source=breaks())
    assert caller.call(Stat(path=b"/f")).size == 3
    with service.pool.volume("main") as volume:
        wait_until(lambda: volume.namespace.usage().inodes == 2, "what was staged is gone")


def test_work_ends_when_nobody_waits_for_it(service: Service, caller: RemoteCaller) -> None:
    begun, ended = threading.Event(), threading.Event()
    plain = HANDLERS[Warm]

    def waits(service: Service, request: Warm, channel: Channel) -> int:
        begun.set()
        channel.cancelled.wait(30)
        if channel.cancelled.is_set():
            ended.set()
        return 0

    HANDLERS[Warm] = waits
    try:
        wire = raw(service)
        wire.send(Hello(PROTOCOL, 0))
        wire.receive()
        wire.send(Call("Warm", msgspec.Raw(msgspec.msgpack.encode(Warm(path=b"/")))))
        assert begun.wait(20)
        wire.close()
        assert ended.wait(20)
    finally:
        HANDLERS[Warm] = plain


def test_progress_arrives(caller: RemoteCaller) -> None:
    write(caller, b"/f", bytes(1 << 20))
    seen: list[Event] = []
    assert caller.call(Warm(path=b"/"), on_event=seen.append) == 1 << 20
    assert seen[-1].done == seen[-1].total == 1 << 20


def test_many_callers_at_once(service: Service, caller: RemoteCaller) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                name = b"/f%d-%d" % (number, turn)
                body = os.urandom(1000 + number)
                write(caller, name, body)
                got: list[bytes] = []
                caller.call(ReadFile(path=name), sink=lambda data, got=got: got.append(bytes(data)))
                assert b"".join(got) == body
        except BaseException as error:  # noqa: BLE001  # shown by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(caller.call(ListNames(path=b"/")).nodes) == 80


def test_too_many_callers_are_told(service: Service) -> None:
    with contextlib.ExitStack() as callers:
        for _ in range(64):
            callers.enter_context(contextlib.closing(RemoteCaller(service.data)))
        with pytest.raises(Busy, match="try again"):
            RemoteCaller(service.data)
    wait_until(lambda: not service.server or service.server.clients == 0, "all have gone")
    RemoteCaller(service.data).close()


def test_another_version_is_told_apart(service: Service) -> None:
    wire = raw(service)
    wire.send(Hello(PROTOCOL + 1, 0))
    answer = wire.receive()
    assert isinstance(answer, Hello)
    assert answer.protocol == PROTOCOL
    with pytest.raises(Disconnected):
        wire.receive()
    wire.close()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64, b"\x05\x00\x00\x00\x00hello"]
)
def test_garbage_ends_the_connection_only(service: Service, garbage: bytes) -> None:
    with raw(service).sock as sock:
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # it need not have read all of it
            while sock.recv(4096):
                pass
    RemoteCaller(service.data).close()


def test_unknown_requests_are_refused(service: Service) -> None:
    wire = raw(service)
    wire.send(Hello(PROTOCOL, 0))
    wire.receive()
    for name, body in (("Explode", {}), ("Stat", {"no": "path"})):
        wire.send(Call(name, msgspec.Raw(msgspec.msgpack.encode(body))))
        answer = wire.receive()
        assert isinstance(answer, Failed)
        assert answer.kind == "invalid"
    wire.close()


def test_a_data_directory_with_a_long_path(scratch: Path) -> None:
    data = scratch / ("d" * 150) / "data"
    data.parent.mkdir()
    create_embedded(data)
    owner = Service(open_embedded(data, options=EngineOptions(background=False)), "test")
    owner.listen()
    remote = RemoteCaller(data)
    assert remote.owner.role == "test"
    assert remote.owner.pid == os.getpid()
    remote.call(Flush())
    remote.close()
    owner.close()
    with pytest.raises(NobodyThere):
        RemoteCaller(data)


def test_an_owner_waits_for_those_who_use_it(service: Service, caller: RemoteCaller) -> None:
    done = threading.Event()
    closing = threading.Thread(target=lambda: (service.close(), done.set()))
    closing.start()
    write(caller, b"/f", b"still works")
    RemoteCaller(service.data).close()  # and takes others as long as it waits
    assert not done.is_set()
    caller.close()
    assert done.wait(30)
    closing.join()


def test_an_owner_that_must_go_says_so(service: Service, caller: RemoteCaller) -> None:
    service.close(wait=0)
    with pytest.raises(Unavailable, match="run it again"):
        caller.call(Flush())


def test_every_request_has_a_handler_and_an_answer_that_survives_the_wire() -> None:
    from graviton_server.control.request import answer_type
    from graviton_server.control.requests import REQUESTS

    assert set(HANDLERS) == set(REQUESTS.values())
    for request in REQUESTS.values():
        assert issubclass(request, Request)
        msgspec.msgpack.Decoder(answer_type(request))


def test_mistakes_inside_are_told_and_do_not_end_the_owner(
    service: Service, caller: RemoteCaller, caplog: pytest.LogCaptureFixture
) -> None:
    plain = HANDLERS[Flush]

    def broken(service: Service, request: Flush, channel: Channel) -> None:
        raise ZeroDivisionError("a mistake")

    HANDLERS[Flush] = broken
    try:
        with pytest.raises(GravitonError, match="failed inside"):
            caller.call(Flush())
    finally:
        HANDLERS[Flush] = plain
    assert "ZeroDivisionError" in caplog.text
    caller.call(Flush())


def test_commands_of_many_processes_share_one_that_has_the_volume(volume: Shell) -> None:
    """No process serves the volume: whoever comes first has it open, the others go through it."""
    running = [volume.graviton.start("mkdir", volume.at(f"/d{number}")) for number in range(6)]
    for process in running:
        assert process.process.wait(60) == 0, process.log_text()
    assert len(volume.json("ls", volume.at("/"))) == 6


def test_what_a_killed_owner_left_is_no_obstacle(volume: Shell) -> None:
    owner = volume.graviton.start("webdav", volume.data, "--listen", "127.0.0.1:0")
    owner.ready_line()
    volume.write("/f", b"through the owner")
    owner.kill()
    assert (volume.data / "control.sock").exists()
    assert volume.read("/f") == b"through the owner"
