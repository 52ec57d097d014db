"""Convolution with pruned weights: only weights that are not zero are multiplied.

The weights are compressed sparse rows (CSR: Y. Saad: Iterative Methods for Sparse Linear Systems,
2003, section 3.4), multiplied with the patch matrix of im2col; for 1×1 filters that matrix is the
image.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import Bands, convolution_of
from .kernel import Arrays, Kernel, Op, Step

GATHERED = 1 << 16
"""The number of elements gathered at a time: 256 KiB of float32, for the second-level cache."""


class Sparse(Kernel):
    """y = W (M, C·K²), sparse, · patches (C·K², positions), for one group."""

    name = "csr"
    algorithm = "sparse"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        if conv.groups != 1:
            raise EngineError("sparse takes one group, not %d" % conv.groups)
        values, self.columns, self.starts = _compressed(conv.weights.reshape(conv.filters, -1))
        self.values = values.reshape(-1, 1)
        self.bands = Bands(conv)
        (patches,) = self.bands.shape
        columns = patches // (conv.channels * conv.taps)
        if conv.window.is_identity:
            patches, columns = 0, conv.positions
        self.groups = tuple(_groups(self.starts, GATHERED // columns))
        most = max(len(self.values[inside]) for _, inside in self.groups)
        self.scratch = (conv.room, (patches,), (most * columns,))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        conv, room, work = self.conv, scratch[0], scratch[1:]
        for image, output in zip(inputs[0], outputs[0]):
            result = output.reshape(conv.filters, -1)
            if conv.window.is_identity:
                yield from self._multiply(image.reshape(conv.channels, -1), result, *work[1:])
            else:
                yield from self._patches(image, result, room, *work)

    def _patches(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, columns: np.ndarray, *work: np.ndarray
    ) -> Iterator[Step]:
        """Multiplies with the patch matrix, made band by band as in `im2col`."""
        conv = self.conv
        patches = yield from conv.patches(x, room)
        for band, matrix, part in self.bands.cut(patches, -len(conv.window.out), columns, y):
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            yield from self._multiply(matrix.reshape(conv.channels * conv.taps, -1), part, *work)

    def _multiply(self, matrix: np.ndarray, y: np.ndarray, gathered: np.ndarray) -> Iterator[Step]:
        """Multiplies a few filters at a time; `matrix` is contiguous, else `np.take` copies it."""
        bias = self.conv.start().reshape(-1, 1)
        for filters, inside in self.groups:
            values, columns = self.values[inside], self.columns[inside]
            terms = gathered[: len(values) * matrix.shape[1]].reshape(len(values), -1)
            # only mode "clip" writes into `out` without a buffer
            yield partial(np.take, matrix, columns, 0, terms, "clip")
            yield partial(np.multiply, terms, values, out=terms)
            starts = self.starts[filters] - inside.start
            yield partial(np.add.reduceat, terms, starts, 0, None, y[filters])
            yield partial(np.add, y[filters], bias[filters], out=y[filters])


def _groups(starts: np.ndarray, size: int) -> Iterator[Tuple[slice, slice]]:
    """Cuts rows into groups of about `size` values: slices of the rows, and of their values.

    Args:
        starts: The index of each row's first value, and at the end the number of all values.
        size: The number of values that a group may have; a group has at least one row.
    """
    first, rows = 0, len(starts) - 1
    while first < rows:
        last = int(np.searchsorted(starts, starts[first] + size, side="right")) - 1
        last = min(max(last, first + 1), rows)
        yield slice(first, last), slice(int(starts[first]), int(starts[last]))
        first = last


def _compressed(weights: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nonzero values, their columns, and the start of each row with the end of the last.

    A row of zeros keeps one zero, so that every row has a value to sum.
    """
    kept = weights != 0
    kept[:, 0] |= ~kept.any(axis=1)
    counts = kept.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return weights[kept], np.nonzero(kept)[1].astype(np.intp), starts.astype(np.intp)
