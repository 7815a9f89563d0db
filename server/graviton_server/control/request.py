"""What every request is: ``Request[X]`` is answered with an ``X``."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

import msgspec

R = TypeVar("R")


class Request(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """The base of all; each is one of those in ``REQUESTS``."""


def answer_type(request: type[Request[Any]]) -> Any:
    """The ``X`` of ``class ...(Request[X])``."""
    return get_args(request.__orig_bases__[0])[0]  # type: ignore[attr-defined]
