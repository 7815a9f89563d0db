"""Streams of answers that hold on to something until their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

from typing_extensions import Buffer

Pieces: TypeAlias = Sequence[Buffer]
"""What goes out together."""


class Outgoing:
    """A stream whose end is noticed however it comes: it is always closed by whoever sends it.

    The first piece is read at once, so that what fails then is still answered as an error.
    """

    def __init__(self, stream: Iterator[Pieces], done: AbstractContextManager[object]) -> None:
        """``done`` has been entered; it is left when the stream is closed."""
        self._stream = stream
        self._done: AbstractContextManager[object] | None = done
        try:
            self._first: Pieces | None = next(stream, None)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Outgoing:
        return self

    def __next__(self) -> Pieces:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._stream)

    def close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
        done, self._done = self._done, None
        if done is not None:
            done.__exit__(None, None, None)
