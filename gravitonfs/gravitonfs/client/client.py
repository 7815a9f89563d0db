"""What programs use: blobs, files by path, volumes of a daemon.

>>> with Client("graviton://127.0.0.1:50051/main") as client:
...     client.write_bytes("/reports/2026.csv", b"a,b\\n")
...     id = client.blobs.put(b"some bytes").id
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, NamedTuple

from typing_extensions import Buffer

from gravitonfs.client.blobs import Blobs
from gravitonfs.client.connection import Connection
from gravitonfs.client.endpoint import Endpoint
from gravitonfs.client.files import ReadFile, WriteFile
from gravitonfs.client.paths import find, parent_and_name
from gravitonfs.client.volumes import RemoteVolume, open_volume
from gravitonfs.core.ids import BlobId
from gravitonfs.errors import Exists, IsADirectory, NotADirectory, NotFound
from gravitonfs.ports.namespace import Entry
from gravitonfs.ports.ops import Attr, Clone, Create, RemoveTree, Rename, RenameMode, Rmdir, SetAttr, Unlink
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

_ADMIN: Final = "/graviton.v1.AdminService/"
_CALL: Final = 60.0
_PAGE: Final = 1000


class FileInfo(NamedTuple):
    """``blob``: of a file whose digest is known. Times in nanoseconds since the epoch."""

    name: str
    kind: str
    """``file``, ``directory``, ``symlink`` or ``other``."""
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ino: int
    blob: str | None


class VolumeInfo(NamedTuple):
    name: str
    logical_bytes: int
    inodes: int


class Client:
    """One daemon, one volume. Thread-safe. A context manager.

    The volume is attached when a file is first used. Errors are ``gravitonfs.errors``.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        timeout: float = 60.0,
        read_only: bool = False,
    ) -> None:
        endpoint, self.volume_name, _ = Endpoint.parse(url)
        self.endpoint = endpoint.with_options(
            token=token, token_file=token_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file
        )
        self._timeout = timeout
        self._read_only = read_only
        self._connection = Connection(self.endpoint)
        self._lock = threading.Lock()
        self._volume: RemoteVolume | None = None
        self.blobs = Blobs(self._connection, self.volume_name, timeout)

    @property
    def volume(self) -> RemoteVolume:
        """The attached volume, with the whole of the ports behind it."""
        with self._lock:
            if self._volume is None:
                self._volume = open_volume(
                    self._connection, self.volume_name, timeout=self._timeout, read_only=self._read_only
                )
            return self._volume

    def close(self) -> None:
        """Everything written is stored already. Idempotent."""
        with self._lock:
            volume, self._volume = self._volume, None
        if volume is not None:
            volume.close()
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- files ---------------------------------------------------------------------------------------

    def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        attr = find(self.volume.namespace, path, follow=follow)
        name = path.rstrip("/").rpartition("/")[2]
        digest = self.volume.namespace.content(attr.content).digest if attr.content else None
        return _info(name, attr, digest)

    def exists(self, path: str) -> bool:
        try:
            find(self.volume.namespace, path)
        except (NotFound, NotADirectory):
            return False
        return True

    def list(self, path: str = "/") -> Iterator[FileInfo]:
        """By name. What comes and goes meanwhile may be missed."""
        namespace = self.volume.namespace
        directory = find(namespace, path)
        after: bytes | None = None
        while page := namespace.entries(directory.ino, after, _PAGE):
            yield from (_info_of(entry) for entry in page)
            if len(page) < _PAGE:
                return
            after = page[-1].name

    def read_bytes(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        attr = self._file(path)
        stop = attr.size if length is None else min(attr.size, offset + length)
        return b"".join(self.volume.reader(attr).stream(offset, stop))

    def open_read(self, path: str) -> ReadFile:
        """A binary file object with random access to the file as it is now."""
        attr = self._file(path)
        return ReadFile(self.volume.reader(attr), attr.size)

    def _file(self, path: str) -> Attr:
        attr = find(self.volume.namespace, path)
        if not stat.S_ISREG(attr.mode):
            raise IsADirectory(f"{path!r} is no file")
        return attr

    def write_bytes(self, path: str, data: Buffer, *, absent: bool = False) -> FileInfo:
        """The file appears, or is replaced, whole, and is durable when this returns.

        ``absent``: Exists where something stands there already.
        """
        with self.open_write(path, absent=absent) as file:
            file.write(data)
        return self.stat(path)

    def open_write(self, path: str, *, absent: bool = False, mode: int = 0o644) -> WriteFile:
        """A binary file object; what is written becomes visible, whole and durable, when it is closed."""
        parent, name = parent_and_name(self.volume, path)
        staged = self.volume.stage(mode=mode, uid=os.getuid(), gid=os.getgid())
        return WriteFile(staged, parent, name, absent=absent)

    def copy_from(self, source: IO[bytes], path: str) -> FileInfo:
        """A file from anything that can be read."""
        with self.open_write(path) as file:
            while piece := source.read(1 << 20):
                file.write(piece)
        return self.stat(path)

    def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False, mode: int = 0o755) -> None:
        names = [name for name in path.split("/") if name]
        if parents:
            for count in range(1, len(names)):
                self._mkdir("/".join(names[:count]), mode, exist_ok=True)
        self._mkdir("/".join(names), mode, exist_ok=exist_ok)

    def _mkdir(self, path: str, mode: int, *, exist_ok: bool) -> None:
        if not path:
            if exist_ok:
                return
            raise Exists("the root exists")
        volume = self.volume
        parent, name = parent_and_name(volume, path)
        full = stat.S_IFDIR | stat.S_IMODE(mode)
        try:
            volume.submit(
                Create(parent, name, volume.new_ino(), full, os.getuid(), os.getgid()), durable=True
            )
        except Exists:
            found = find(volume.namespace, path)
            if not exist_ok or not stat.S_ISDIR(found.mode):
                raise

    def remove(self, path: str, *, tree: bool = False) -> None:
        """A file or an empty directory; with ``tree`` a directory with all that is in it."""
        volume = self.volume
        parent, name = parent_and_name(volume, path)
        if tree:
            volume.submit(RemoveTree(parent, name), durable=True)
            return
        found = volume.namespace.lookup(parent, name)
        if found is not None and stat.S_ISDIR(found.mode):
            volume.submit(Rmdir(parent, name), durable=True)
        else:
            volume.submit(Unlink(parent, name), durable=True)

    def rename(self, path: str, to: str, *, replace: bool = True) -> None:
        volume = self.volume
        mode = RenameMode.REPLACE if replace else RenameMode.NOREPLACE
        source, target = parent_and_name(volume, path), parent_and_name(volume, to)
        volume.submit(Rename(*source, *target, mode), durable=True)

    def copy(self, path: str, to: str, *, replace: bool = True) -> None:
        """In O(1) whatever the size: no bytes move."""
        volume = self.volume
        source = find(volume.namespace, path)
        parent, name = parent_and_name(volume, to)
        clone = Clone(source.ino, parent, name, volume.new_ino(), os.getuid(), os.getgid(), replace=replace)
        volume.submit(clone, durable=True)

    def set_times(self, path: str, mtime_ns: int) -> None:
        volume = self.volume
        volume.submit(SetAttr(find(volume.namespace, path).ino, mtime_ns=mtime_ns), durable=True)

    # --- volumes -------------------------------------------------------------------------------------

    def volumes(self) -> Sequence[VolumeInfo]:
        """Those that the token may read."""
        reply = self._connection.call(
            _ADMIN + "ListVolumes", pb.ListVolumesRequest(), pb.ListVolumesReply, timeout=_CALL
        )
        return [VolumeInfo(found.name, found.logical_bytes, found.inodes) for found in reply.volumes]

    def create_volume(self, name: str) -> VolumeInfo:
        request = pb.CreateVolumeRequest(name=name)
        made = self._connection.call(_ADMIN + "CreateVolume", request, pb.Volume, timeout=_CALL)
        return VolumeInfo(made.name, made.logical_bytes, made.inodes)

    def delete_volume(self, name: str, *, force: bool = False, evict: bool = False) -> None:
        """``force``: also when it is not empty; ``evict``: end the sessions that use it."""
        request = pb.DeleteVolumeRequest(name=name, force=force, evict=evict)
        self._connection.call(_ADMIN + "DeleteVolume", request, pb.DeleteVolumeReply, timeout=_CALL)


def _info_of(entry: Entry) -> FileInfo:
    return _info(os.fsdecode(entry.name), entry.attr, entry.digest)


def _info(name: str, attr: Attr, digest: bytes | None) -> FileInfo:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return FileInfo(
        name,
        kinds.get(stat.S_IFMT(attr.mode), "other"),
        attr.size,
        stat.S_IMODE(attr.mode),
        attr.uid,
        attr.gid,
        attr.mtime_ns,
        attr.ino,
        str(BlobId(digest, attr.size)) if digest is not None else None,
    )
