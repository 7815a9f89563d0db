"""Parameter types, which also complete what is typed in a shell."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem


class Size(click.ParamType[int]):
    """``64KiB``, ``100MB`` or a number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from gravitonfs.core.units import parse_size
        from gravitonfs.errors import Invalid

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except Invalid as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """``90d``, ``12h``, ``30s``: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from gravitonfs.core.units import parse_duration
        from gravitonfs.errors import Invalid

        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except Invalid as error:
            self.fail(str(error), param, ctx)


class Address(click.ParamType[Any]):
    """``HOST:PORT``; port 0 takes any that is free."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is no address; expected HOST:PORT, such as 127.0.0.1:8081", param, ctx)
        return host, int(port)


class AddressOrOff(Address):
    """An address, or ``off``."""

    name = "host:port|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "off" else super().convert(value, param, ctx)


class LocalPath(click.ParamType[str]):
    """A path; the shell completes file names (``kind`` "dir": directories)."""

    name = "path"

    def __init__(self, kind: str = "file") -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if "\0" in text:
            self.fail("a path cannot have a NUL byte", param, ctx)
        if not text:
            self.fail("a path cannot be empty; the current directory is '.'", param, ctx)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type=self.kind)]


class VolumePath(LocalPath):
    """``DATA:/path`` is completed from the volume, anything else by the shell."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        if ":/" not in incomplete:
            return super().shell_complete(ctx, param, incomplete)
        from graviton_server.cli.completion import volume_names

        return [CompletionItem(name) for name in volume_names(incomplete)]


DATA = LocalPath("dir")
DIRECTORY = LocalPath("dir")
FILE = LocalPath("file")
PATH = VolumePath("file")
SIZE = Size()
DURATION = Duration()
ADDRESS = Address()
ADDRESS_OR_OFF = AddressOrOff()
