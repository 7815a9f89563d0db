"""One volume as the users of each front end have it: what the coherence of two of them is tested with."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from harness import api, dav


class Side(Protocol):
    """``name`` is a path below the volume's root. What somebody else was faster with is False."""

    def put(self, name: str, data: bytes) -> None:
        """Whole, over what is there or not."""

    def get(self, name: str) -> bytes | None:
        """None: it is not there."""

    def size(self, name: str) -> int | None: ...

    def create(self, name: str, data: bytes) -> bool:
        """Only where nothing has the name."""

    def mkdir(self, name: str) -> bool: ...

    def remove(self, name: str) -> bool: ...

    def names(self, directory: str) -> list[str]:
        """As often as they were listed."""

    def close(self) -> None: ...


class Mover(Side, Protocol):
    """A front end that can rename."""

    def move(self, source: str, target: str) -> bool:
        """Over what has the target's name. False: there is no source."""

    def replace(self, name: str, data: bytes) -> None:
        """By a new file that is moved over the old one."""


class MountSide:
    def __init__(self, point: Path) -> None:
        self.point = point

    def path(self, name: str) -> Path:
        return self.point / name

    def put(self, name: str, data: bytes) -> None:
        self.path(name).write_bytes(data)

    def get(self, name: str) -> bytes | None:
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return None

    def create(self, name: str, data: bytes) -> bool:
        try:
            with open(self.path(name), "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def mkdir(self, name: str) -> bool:
        try:
            self.path(name).mkdir()
        except FileExistsError:
            return False
        return True

    def link(self, source: str, target: str) -> bool:
        try:
            os.link(self.path(source), self.path(target))
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> bool:
        try:
            self.path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self, directory: str) -> list[str]:
        return os.listdir(self.path(directory))

    def move(self, source: str, target: str) -> bool:
        try:
            self.path(source).rename(self.path(target))
        except FileNotFoundError:
            return False
        return True

    def replace(self, name: str, data: bytes) -> None:
        aside = f"{name}.{uuid.uuid4().hex}"
        self.put(aside, data)
        assert self.move(aside, name)

    def close(self) -> None: ...


class DavSide:
    """Connections are one thread's: ``DavSide`` for each."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.client = dav.Client((parts.hostname, parts.port))

    def _expect(self, answer: dav.Answer, *statuses: int) -> int:
        assert answer.status in statuses, (answer.status, answer.body)
        return answer.status

    def put(self, name: str, data: bytes) -> None:
        self._expect(self.client("PUT", f"/{name}", data), 201, 204)

    def get(self, name: str) -> bytes | None:
        answer = self.client("GET", f"/{name}")
        return None if self._expect(answer, 200, 404) == 404 else answer.body

    def size(self, name: str) -> int | None:
        answer = self.client("HEAD", f"/{name}")
        return None if self._expect(answer, 200, 404) == 404 else int(answer.headers["Content-Length"])

    def create(self, name: str, data: bytes) -> bool:
        return self._expect(self.client("PUT", f"/{name}", data, If_None_Match="*"), 201, 412) == 201

    def mkdir(self, name: str) -> bool:
        return self._expect(self.client("MKCOL", f"/{name}"), 201, 405) == 201

    def remove(self, name: str) -> bool:
        return self._expect(self.client("DELETE", f"/{name}"), 204, 404) == 204

    def names(self, directory: str) -> list[str]:
        answer = self.client.propfind(f"/{directory}/", "{DAV:}getetag", depth="1")
        found = [item.findtext("{DAV:}href") or "" for item in answer.xml.findall("{DAV:}response")]
        assert found.pop(0).strip("/") == directory
        return [href.rstrip("/").rpartition("/")[2] for href in found]

    def move(self, source: str, target: str) -> bool:
        answer = self.client("MOVE", f"/{source}", Destination=self.client.url(f"/{target}"))
        return self._expect(answer, 201, 204, 404) != 404

    def replace(self, name: str, data: bytes) -> None:
        aside = f"{name}.{uuid.uuid4().hex}"
        self.put(aside, data)
        assert self.move(aside, name)

    def close(self) -> None:
        self.client.close()


class HttpSide:
    """Connections are one thread's: ``HttpSide`` for each."""

    def __init__(self, url: str, volume: str) -> None:
        self.api = api.Api(url)
        self._query = f"?volume={quote(volume)}"

    def _ask(self, method: str, name: str, body: Any, *statuses: int, **headers: str) -> api.Answer:
        answer = self.api(method, f"/api/v1/files/{name}{self._query}", body, **headers)
        assert answer.status in statuses, answer
        return answer

    def put(self, name: str, data: bytes) -> None:
        self._ask("PUT", name, data, 200, 201)

    def get(self, name: str) -> bytes | None:
        answer = self._ask("GET", name, None, 200, 404)
        return None if answer.status == 404 else answer.body

    def size(self, name: str) -> int | None:
        answer = self._ask("HEAD", name, None, 200, 404)
        return None if answer.status == 404 else int(answer.headers["content-length"])

    def create(self, name: str, data: bytes) -> bool:
        return self._ask("PUT", name, data, 201, 412, If_None_Match="*").status == 201

    def mkdir(self, name: str) -> bool:
        """One that is there already is no conflict."""
        return self._ask("PUT", f"{name}/", None, 200, 201).status == 201

    def remove(self, name: str) -> bool:
        return self._ask("DELETE", name, None, 204, 404).status == 204

    def names(self, directory: str) -> list[str]:
        listed = json.loads(self._ask("GET", directory, None, 200).body)
        return [entry["name"] for entry in listed["entries"]]

    def close(self) -> None:
        self.api.close()


@contextmanager
def closing(side: Side) -> Iterator[Side]:
    try:
        yield side
    finally:
        side.close()
