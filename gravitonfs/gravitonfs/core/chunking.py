"""Content-defined chunking: FastCDC (2020) by ``pyfastcdc``, which releases the GIL."""

from __future__ import annotations

from pyfastcdc import FastCDC

from gravitonfs.core.format import VolumeFormat


class Chunker:
    """Cuts runs of bytes into blocks. Not thread-safe: one per run.

    A boundary depends only on the bytes since the boundary before it, so a run may be cut piece by
    piece: what follows the last boundary of a piece is carried into the next.
    """

    def __init__(self, fmt: VolumeFormat) -> None:
        self.minimum = fmt.block_min
        self.maximum = fmt.block_max
        self._cdc = FastCDC(
            fmt.block_average,
            min_size=fmt.block_min,
            max_size=fmt.block_max,
            normalized_chunking=fmt.normalization,  # type: ignore[arg-type]  # a Literal of 0 to 3
        )

    def cut(self, data: memoryview, *, final: bool) -> list[int]:
        """The lengths of the blocks at the start of ``data``.

        With ``final`` they cover all of it; without, the last one is left out, because only the end
        of the buffer ended it.
        """
        lengths = [chunk.length for chunk in self._cdc.cut_buf(data)]
        return lengths if final else lengths[:-1]
