"""Programs' own client: blobs, files by path, volumes; and fsspec with a real user of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest

from graviton_server.grpc_api.server import GrpcServer, serve
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.wiring import Engine, EngineOptions, open_embedded
from gravitonfs.client import Client
from gravitonfs.core.hashing import content_hasher
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import (
    Busy,
    Conflict,
    Exists,
    FileTooLarge,
    Invalid,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    OutOfRange,
)

MIB = 1 << 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    options = EngineOptions(memory=128 * MIB, background=False)
    with open_embedded(tmp_path / "data", create=True, options=options) as opened:
        yield opened


@pytest.fixture
def server(engine: Engine) -> Iterator[GrpcServer]:
    running = serve(engine, GrpcSettings(port=0, stop_grace=1.0, max_blob_size=64 * MIB))
    yield running
    running.stop()


@pytest.fixture
def url(server: GrpcServer) -> str:
    return f"graviton://{server.address}/main"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, timeout=10) as made:
        yield made


def blob_id(data: bytes) -> str:
    hasher = content_hasher()
    hasher.update(data)
    return str(BlobId(hasher.digest(), len(data)))


class TestBlobs:
    @pytest.mark.parametrize("size", [0, 1, 1000, 70_000, 3 * MIB, 20 * MIB + 17])
    def test_up_and_down(self, client: Client, size: int) -> None:
        data = os.urandom(size)
        made = client.blobs.put(data, id=blob_id(data))
        assert (made.id, made.length, made.new_bytes, made.existed) == (blob_id(data), size, size, False)
        assert client.blobs.get(made.id) == data
        again = client.blobs.put([data[:10], data[10:]])
        assert (again.id, again.new_bytes, again.existed) == (made.id, 0, True)
        assert client.blobs.stat(made.id).length == size

    def test_ranges(self, client: Client) -> None:
        data = os.urandom(5 * MIB)
        made = client.blobs.put(data)
        for offset, length in ((0, 1), (MIB - 1, 2), (4 * MIB, 10 * MIB), (5 * MIB, 1), (17, 0), (3, None)):
            expected = data[offset:] if length is None else data[offset : offset + length]
            assert client.blobs.get(made.id, offset, length) == expected
        with pytest.raises(OutOfRange):
            client.blobs.get(made.id, 5 * MIB + 1, 1)

    def test_what_was_announced_has_to_come(self, client: Client, engine: Engine) -> None:
        data = os.urandom(2 * MIB)
        wrong = BlobId.parse(blob_id(data))._replace(digest=bytes(32))
        with pytest.raises(Invalid, match="another digest"):
            client.blobs.put(data, id=str(wrong))
        with pytest.raises(Invalid, match="were announced"):
            client.blobs.put(data, id=str(BlobId.parse(blob_id(data))._replace(length=5 * MIB)))
        with pytest.raises(Invalid, match="more bytes came"):
            client.blobs.put(data, id=str(BlobId.parse(blob_id(data))._replace(length=MIB)))
        with pytest.raises(FileTooLarge):
            client.blobs.put(os.urandom(MIB) for _ in range(70))
        with pytest.raises(NotFound):
            client.blobs.get(blob_id(data))
        assert list(client.blobs.list()) == []
        assert client.volume.namespace.usage().inodes == 1
        assert list(engine.namespace_store.upkeep.check()) == []

    def test_deleting_drops_the_reference(self, client: Client, engine: Engine) -> None:
        made = [client.blobs.put(b"%d" % number).id for number in range(20)]
        assert [found.id for found in client.blobs.list()] == sorted(made)
        for id in made[:5]:
            client.blobs.delete(id)
        assert [found.id for found in client.blobs.list()] == sorted(made[5:])
        for call in (client.blobs.delete, client.blobs.stat, client.blobs.get):
            with pytest.raises(NotFound):
                call(made[0])
        with pytest.raises(Invalid):
            client.blobs.stat("blake3:xyz:1")
        while engine.namespace_store.upkeep.reap(1000):
            pass
        assert list(engine.namespace_store.upkeep.check()) == []

    def test_a_file_keeps_the_bytes_of_a_blob(self, client: Client) -> None:
        data = os.urandom(3 * MIB)
        client.write_bytes("f", data)
        assert client.blobs.put(data).new_bytes == 0
        client.blobs.delete(blob_id(data))
        assert client.read_bytes("f") == data


class TestFiles:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 300_000, 12 * MIB + 3])
    def test_whole(self, client: Client, size: int) -> None:
        data = os.urandom(size)
        info = client.write_bytes("/f", data)
        assert (info.name, info.kind, info.size) == ("f", "file", size)
        assert client.read_bytes("f") == data
        assert client.read_bytes("f", 1, 5) == data[1:6]
        client.write_bytes("f", b"short")
        assert client.read_bytes("f") == b"short"

    def test_trees(self, client: Client) -> None:
        client.mkdir("a/b/c", parents=True)
        with pytest.raises(Exists):
            client.mkdir("a/b/c")
        client.mkdir("a/b/c", parents=True, exist_ok=True)
        client.write_bytes("a/b/f", b"1")
        with pytest.raises(Conflict):
            client.write_bytes("a/b/f", b"2", absent=True)
        client.copy("a/b/f", "a/b/g")
        client.rename("a/b/g", "a/h")
        assert [(i.name, i.kind) for i in client.list("a")] == [("b", "directory"), ("h", "file")]
        with pytest.raises(NotEmpty):
            client.remove("a")
        with pytest.raises(NotADirectory):
            client.stat("a/h/x")
        with pytest.raises(Invalid):
            client.write_bytes("../f", b"")
        client.remove("a", tree=True)
        assert not client.exists("a")
        with pytest.raises(NotFound):
            client.remove("a")

    def test_links_are_followed(self, client: Client) -> None:
        from gravitonfs.ports.ops import Create

        client.mkdir("d/e", parents=True)
        client.write_bytes("d/f", b"here")
        volume = client.volume
        for name, target in ((b"up", b"../d/f"), (b"abs", b"/d/f"), (b"loop", b"loop"), (b"dir", b"../../d")):
            parent = client.stat("d/e").ino
            volume.submit(Create(parent, name, volume.new_ino(), 0o120777, 0, 0, 0, target))  # type: ignore[arg-type]
        assert client.read_bytes("d/e/abs") == b"here"
        assert client.read_bytes("d/e/dir/f") == b"here"
        assert client.stat("d/e/up", follow=False).kind == "symlink"
        with pytest.raises(NotFound):
            client.stat("d/e/up")  # ../d/f from d/e is d/d/f

    def test_a_failed_write_leaves_nothing(self, client: Client) -> None:
        def half() -> None:
            with client.open_write("f") as file:
                file.write(os.urandom(2 * MIB))
                raise RuntimeError("the program fails")

        with pytest.raises(RuntimeError):
            half()
        assert not client.exists("f")
        assert client.volume.namespace.usage().inodes == 1

    def test_file_objects(self, client: Client) -> None:
        data = os.urandom(5 * MIB)
        client.copy_from(io.BytesIO(data), "f")
        with client.open_read("f") as file:
            assert file.read(10) == data[:10]
            file.seek(-10, io.SEEK_END)
            assert file.read() == data[-10:]
            file.seek(MIB)
            buffer = bytearray(100)
            assert file.readinto(buffer) == 100
            assert bytes(buffer) == data[MIB : MIB + 100]


class TestVolumes:
    def test_they_are_apart(self, client: Client, url: str, engine: Engine) -> None:
        assert [v.name for v in client.volumes()] == ["main"]
        client.create_volume("other")
        with pytest.raises(Exists):
            client.create_volume("other")
        with pytest.raises(Invalid):
            client.create_volume("/x")
        client.write_bytes("f", b"in main")
        made = client.blobs.put(b"blob of main")
        with Client(url.replace("/main", "/other"), timeout=10) as other:
            other.write_bytes("g", b"in other")
            assert not other.exists("f")
            with pytest.raises(NotFound):
                other.blobs.get(made.id)
            assert [(v.name, v.inodes) for v in client.volumes()] == [("main", 2), ("other", 2)]
            with pytest.raises(NotEmpty):
                client.delete_volume("other")
            with pytest.raises(Busy):
                client.delete_volume("other", force=True)
        client.delete_volume("other", force=True)
        assert [v.name for v in client.volumes()] == ["main"]
        with pytest.raises(NotPermitted):
            client.delete_volume("main", force=True)
        with pytest.raises(NotFound):
            Client(url.replace("/main", "/other"), timeout=1).stat("/")
        while engine.namespace_store.upkeep.reap(1000):
            pass
        assert list(engine.namespace_store.upkeep.check()) == []
        client.create_volume("other")
        assert [(v.name, v.inodes) for v in client.volumes()] == [("main", 2), ("other", 1)]


class TestFsspec:
    @pytest.fixture
    def fs(self, url: str) -> Iterator[fsspec.AbstractFileSystem]:
        fsspec.config.conf.clear()
        made = fsspec.filesystem("graviton", url=url, timeout=10, skip_instance_cache=True)
        yield made
        made.close()

    def test_the_usual_calls(self, fs: fsspec.AbstractFileSystem) -> None:
        fs.makedirs("d/e")
        fs.pipe_file("d/e/f", b"0123456789")
        assert fs.cat_file("d/e/f", 2, -2) == b"234567"
        assert fs.cat("d/e/f") == b"0123456789"
        with fs.open("d/e/g", "w") as file:
            file.write("text")
        with fs.open("d/e/g") as file:
            assert file.read() == b"text"
        assert fs.ls("d/e", detail=False) == ["d/e/f", "d/e/g"]
        assert sorted(fs.find("")) == ["d/e/f", "d/e/g"]
        assert fs.glob("d/*/f") == ["d/e/f"]
        assert fs.du("") == 14
        fs.cp("d/e/f", "d/h")
        fs.mv("d/h", "d/i")
        assert fs.exists("d/i")
        assert not fs.exists("d/h")
        with pytest.raises(FileNotFoundError):
            fs.info("nothing")
        with pytest.raises(FileExistsError):
            fs.mkdir("d")
        fs.rm("d", recursive=True)
        assert fs.ls("") == []

    def test_by_address_alone(self, url: str, client: Client) -> None:
        client.mkdir("by")
        opened = fsspec.open(f"{url}/by/address", "wb", timeout=10, skip_instance_cache=True)
        with opened as file:
            file.write(b"text")
        opened.fs.close()
        assert client.read_bytes("by/address") == b"text"
        assert opened.fs.unstrip_protocol("by/address") == f"{url}/by/address"

    def test_pyarrow_reads_and_writes(self, fs: fsspec.AbstractFileSystem) -> None:
        table = pa.table({"number": list(range(100_000)), "text": [f"row {n % 100}" for n in range(100_000)]})
        filesystem = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(fs))
        fs.makedirs("tables")
        pq.write_table(table, "tables/t.parquet", filesystem=filesystem)
        assert pq.read_table("tables/t.parquet", filesystem=filesystem) == table
        some = pq.read_table("tables/t.parquet", filesystem=filesystem, columns=["number"])
        assert some.num_columns == 1
        with filesystem.open_output_stream("tables/t.csv") as out:
            pa_csv.write_csv(table, out)
        with filesystem.open_input_stream("tables/t.csv") as source:
            assert pa_csv.read_csv(source) == table
        pq.write_to_dataset(table, "tables/parted", filesystem=filesystem, partition_cols=["text"])
        assert pq.read_table("tables/parted", filesystem=filesystem).num_rows == 100_000
