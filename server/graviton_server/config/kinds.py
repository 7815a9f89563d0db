"""What a key's value may be: how it is read, what is expected of it, how it is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gravitonfs.core.units import parse_duration, parse_size
from gravitonfs.errors import Invalid


class Kind(NamedTuple):
    """``read`` takes what the parser or the environment gives; Invalid says what is wrong with it."""

    expected: str
    read: Callable[[Any], Any]
    show: Callable[[Any], Any] = lambda value: value
    item: type | None = None
    """Of a list of sections: what each is."""


def _refuse(value: object, expected: str) -> Invalid:
    shown = f"'{value}'" if isinstance(value, str) else _name(value)
    return Invalid(f"{shown} is not what belongs here; expected {expected}")


def _name(value: object) -> str:
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(expected: str, convert: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Values out of ``${NAME}`` and the environment are always text, so all scalars are read from text."""

    def read(value: Any) -> Any:
        if isinstance(value, (dict, list)) or value is None:
            raise _refuse(value, expected)
        try:
            return convert(_name(value) if not isinstance(value, str) else value.strip())
        except (ValueError, KeyError, Invalid):
            raise _refuse(value, expected) from None

    return read


def _scalar_kind(
    expected: str, convert: Callable[[str], Any], show: Callable[[Any], Any] = lambda v: v
) -> Kind:
    return Kind(expected, _scalar(expected, convert), show)


def _text(text: str) -> str:
    if not text or any(ord(c) < 32 for c in text):
        raise ValueError
    return text


def _positive_size(text: str) -> int:
    size = parse_size(text)
    if size < 1:
        raise ValueError
    return size


def _duration(text: str) -> float:
    """A bare number means milliseconds in HOCON's own words and seconds to most people: refused."""
    if re.fullmatch(r"[0-9.]+", text) and float(text) != 0:
        raise ValueError
    return parse_duration(text)


def _some_time(text: str) -> float:
    seconds = _duration(text)
    if seconds <= 0:
        raise ValueError
    return seconds


def show_duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % length == 0:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def show_size(count: int) -> str:
    """In the unit that needs the fewest digits."""
    fitting = [(count // length, unit) for unit, length in _UNITS if count % length == 0]
    shown, unit = min(fitting)
    return f"{shown}{unit}"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    return text


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise ValueError
    return text


_UNITS: Final = (
    ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3), ("B", 1),
)  # fmt: skip
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

BOOL: Final = _scalar_kind("true or false", lambda text: _TRUTH[text.lower()])
TEXT: Final = _scalar_kind("text", _text)
HOST: Final = _scalar_kind("a host name or an address", _text)
PATH: Final = _scalar_kind("a path", _text)
URL: Final = _scalar_kind("a URL with http or https", _url)
HEADER: Final = _scalar_kind("the name of a header, such as X-Request-ID", _header)
SIZE: Final = _scalar_kind(
    "a size: a number with B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024), such as 100MB",
    _positive_size, show_size,
)  # fmt: skip
DURATION: Final = _scalar_kind(
    "a duration: a number with ms, s, m, h or d, such as 30s", _some_time, show_duration
)
DURATION_OR_ZERO: Final = _scalar_kind(
    "a duration: a number with ms, s, m, h or d, such as 1h, or 0", _duration, show_duration
)


def number(least: int, most: int) -> Kind:
    def convert(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else int(float(text))
        if not least <= value <= most or float(text) != value:
            raise ValueError
        return value

    return _scalar_kind(f"a whole number from {least} to {most}", convert)


PORT: Final = number(0, 65535)


def choice(*names: str) -> Kind:
    by_lower = {name.lower(): name for name in names}
    return _scalar_kind("one of " + ", ".join(names), lambda text: by_lower[text.lower()])


def several(kind: Kind) -> Kind:
    """A list of scalars."""
    expected = f"a list, each of it {kind.expected}"

    def read(value: Any) -> Any:
        if not isinstance(value, list) or not value:
            raise _refuse(value, expected)
        return tuple(kind.read(one) for one in value)

    return Kind(expected, read, lambda values: [kind.show(one) for one in values])


def sections(item: type, expected: str) -> Kind:
    """A list of sections, each read as ``item`` declares."""

    def read(value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise _refuse(value, expected)
        return value

    return Kind(expected, read, lambda values: values, item)


def _weight(text: str) -> float:
    weight = float(text)
    if not 0 <= weight <= 1_000_000:
        raise ValueError
    return weight


WEIGHT: Final = _scalar_kind("a number from 0 to 1000000", _weight)
