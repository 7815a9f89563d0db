"""``graviton://host:port/volume/path`` for fsspec, and so for pandas, pyarrow, dask and others."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any, ClassVar

from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from gravitonfs.client.client import Client, FileInfo
from gravitonfs.client.endpoint import SCHEMES, Endpoint
from gravitonfs.client.files import ReadFile, WriteFile
from gravitonfs.errors import GravitonError

_OPTIONS = ("token", "token_file", "ca_file", "cert_file", "key_file", "timeout")


@contextmanager
def _as_oserror(path: str) -> Iterator[None]:
    """fsspec and its users know ``OSError``."""
    try:
        yield
    except GravitonError as error:
        raise OSError(error.errno, str(error), path) from error


class GravitonFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """One volume of a daemon. Paths are those in the volume, without a slash at the start.

    Options: ``url`` (``graviton://host:port/volume``, taken from the address where it is used with one),
    ``token``, ``token_file``, ``ca_file``, ``cert_file``, ``key_file``, ``timeout``.
    """

    protocol: ClassVar[tuple[str, ...]] = SCHEMES
    root_marker = ""

    def __init__(self, url: str | None = None, **options: Any) -> None:
        super().__init__(url=url, **options)
        address = url or os.environ.get("GRAVITON_URL")
        if address is None:
            raise ValueError("say where the daemon is: url='graviton://host:port/volume'")
        known = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
        known |= {name: Path(value) for name, value in known.items() if name.endswith("_file")}
        self.client = Client(address, **known)

    @classmethod
    def _get_kwargs_from_urls(cls, path: str) -> dict[str, Any]:
        endpoint, volume, _ = Endpoint.parse(path)
        return {"url": f"{endpoint}/{volume}"}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = stringify_path(path)
        if text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            _, _, text = Endpoint.parse(text)
        return text.strip("/")

    def unstrip_protocol(self, name: str) -> str:
        return f"{self.client.endpoint}/{self.client.volume_name}/{self._strip_protocol(name)}"

    @property
    def fsid(self) -> str:
        return f"{self.client.endpoint}/{self.client.volume_name}"

    def close(self) -> None:
        self.client.close()

    # --- reading -------------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            return _described(path, self.client.stat("/" + path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            found = self.client.stat("/" + path)
            if found.kind == "directory":
                above = f"{path}/" if path else ""
                shown = [_described(above + entry.name, entry) for entry in self.client.list("/" + path)]
            else:
                shown = [_described(path, found)]
        return shown if detail else [one["name"] for one in shown]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> ReadFile | WriteFile:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            if mode == "rb":
                return self.client.open_read("/" + path)
            if mode in ("wb", "xb"):
                return self.client.open_write("/" + path, absent=mode == "xb")
        raise OSError(errno.EOPNOTSUPP, f"mode {mode!r} is not supported", path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            size = self.client.stat("/" + path).size
            first, last, _step = slice(start, end).indices(size)
            return self.client.read_bytes("/" + path, first, max(0, last - first))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            self.client.write_bytes("/" + path, value, absent=mode == "create")

    def created(self, path: str) -> Any:
        raise NotImplementedError

    def modified(self, path: str) -> Any:
        from datetime import datetime

        return datetime.fromtimestamp(self.info(path)["mtime"], tz=UTC)

    def ukey(self, path: str) -> str:
        """Changes whenever the bytes may have."""
        info = self.info(path)
        return str(info["blob"] or (info["ino"], info["mtime"], info["size"]))

    # --- changing ------------------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            self.client.mkdir("/" + path, parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            self.client.mkdir("/" + path, parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        self._rm(path)

    def _rm(self, path: str) -> None:
        path = self._strip_protocol(path)
        with _as_oserror(path):
            self.client.remove("/" + path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        for one in path if isinstance(path, list) else [path]:
            stripped = self._strip_protocol(one)
            with _as_oserror(stripped):
                self.client.remove("/" + stripped, tree=recursive)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with _as_oserror(target):
            if self.client.stat("/" + source).kind == "directory":
                self.client.mkdir("/" + target, parents=True, exist_ok=True)
            else:
                self.client.copy("/" + source, "/" + target)

    def mv(
        self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **_: Any
    ) -> None:
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with _as_oserror(source):
            self.client.rename("/" + source, "/" + target)


def _described(path: str, info: FileInfo) -> dict[str, Any]:
    return {
        "name": path,
        "type": info.kind,
        "size": info.size,
        "mode": info.mode,
        "uid": info.uid,
        "gid": info.gid,
        "mtime": info.mtime_ns / 1e9,
        "ino": info.ino,
        "blob": info.blob,
    }
