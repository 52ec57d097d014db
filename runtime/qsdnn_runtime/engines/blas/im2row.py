"""im2row: each window becomes a row of a matrix, and the convolution one matrix product.

The matrix is the transpose of im2col's, gathered from a channels-last copy of the image: taps of
one row of a window are then adjacent in memory (K·C elements a copy, where im2col copies a row of
the output at a time), which pays where images are small and channels many. A. Anderson, A.
Vasudevan, C. Keane, D. Gregg: Low-memory GEMM-based convolution algorithms for deep neural
networks, arXiv 1709.03395.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step


class Im2row(Kernel):
    """y = W (M, K²·C) · patches (positions, K²·C)ᵀ, for one group."""

    name = "im2row+sgemm"
    algorithm = "im2row"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        if conv.groups != 1:
            raise EngineError("im2row takes one group, not %d" % conv.groups)
        taps_first = np.moveaxis(conv.weights, 1, -1)
        self.weights = np.ascontiguousarray(taps_first).reshape(conv.filters, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(-1, 1)
        row = self.weights.shape[1] * int(np.prod(conv.window.out[1:]))
        self.bands = tuple(conv.window.bands(row))
        room = (*conv.window.padded, conv.channels)
        self.scratch = (room, (row * (self.bands[0][1] - self.bands[0][0]),))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, rows: np.ndarray
    ) -> Iterator[Step]:
        window = self.conv.window
        channels_last = np.moveaxis(x, 0, -1)
        padded = yield from window.pad(channels_last, room, axis=0)
        if padded is channels_last:
            yield partial(np.copyto, room, channels_last)
        patches = window.view(room, axis=0)  # (*out, *kernel, C)
        result = y.reshape(self.conv.filters, -1)
        width = int(np.prod(window.out[1:]))
        for start, stop in self.bands:
            band = patches[start:stop]
            matrix = rows[: band.size]
            part = result[:, start * width : stop * width]
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(-1, self.weights.shape[1])
            yield partial(np.matmul, self.weights, matrix.T, out=part)
            if self.bias is not None:
                yield partial(np.add, part, self.bias, out=part)
