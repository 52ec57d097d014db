"""im2col: each window becomes a column of a matrix, and the convolution one matrix product.

K. Chellapilla, S. Puri, P. Simard: High Performance Convolutional Neural Networks for Document
Processing, IWFHR 2006. The patch matrix holds each input element once for every tap; the matrix is
made in bands of output rows, so that it stays in cache and needs little memory. Groups are a batch
of products.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step


class Im2col(Kernel):
    """y = W (M, C·K²) · patches (C·K², positions)."""

    name = "im2col+sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.weights = conv.weights.reshape(conv.groups, conv.filters // conv.groups, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(conv.groups, -1, 1)
        row = conv.channels * conv.taps * int(np.prod(conv.window.out[1:]))
        self.bands = tuple(conv.window.bands(row))
        self.scratch = (conv.room, (row * (self.bands[0][1] - self.bands[0][0]),))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, columns: np.ndarray
    ) -> Iterator[Step]:
        conv, window = self.conv, self.conv.window
        rank = len(window.out)
        padded = yield from window.pad(x, room, axis=1)
        patches = window.view(padded, axis=1)  # (C, *out, *kernel) -> (C, *kernel, *out)
        patches = np.moveaxis(patches, range(-rank, 0), range(1, 1 + rank))
        result = y.reshape(conv.groups, conv.filters // conv.groups, -1)
        width = int(np.prod(window.out[1:]))
        for start, stop in self.bands:
            band = patches[(slice(None),) * (1 + rank) + (slice(start, stop),)]
            matrix = columns[: band.size]
            part = result[:, :, start * width : stop * width]
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(conv.groups, self.weights.shape[2], -1)
            yield partial(np.matmul, self.weights, matrix, out=part)
            if self.bias is not None:
                yield partial(np.add, part, self.bias, out=part)
