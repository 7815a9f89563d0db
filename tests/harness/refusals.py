"""System calls that must fail with one errno."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """The block must end in an OSError with one of these numbers."""
    names = " or ".join(errno.errorcode[number] for number in numbers)
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise AssertionError(f"{error} instead of {names}") from error
    else:
        raise AssertionError(f"succeeded instead of {names}")
