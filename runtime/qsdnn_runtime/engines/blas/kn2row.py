"""kn2row: a K×K convolution is the sum of K² convolutions 1×1, each shifted.

A. Vasudevan, A. Anderson, D. Gregg: Parallel Multi Channel Convolution using General Matrix
Multiplication, ASAP 2017, arXiv 1704.04428; here one tap at a time, its product added to the sum
(the accumulating form of arXiv 1709.03395), so that nothing is held K² times. The padded image is
one line: for windows that move by one, a shift is an offset into the line, which the GEMM reads as
it is.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step
from .window import BAND_COLUMNS, BAND_ELEMENTS


class Kn2row(Kernel):
    """y = Σ_tap W[tap] (M, C) · x (C, positions, shifted by tap), for stride 1 and one group."""

    name = "kn2row+sgemm"
    algorithm = "kn2row"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        window = conv.window
        if conv.groups != 1 or max(window.strides) != 1:
            raise EngineError("kn2row takes one group and stride 1")
        taps = conv.weights.reshape(conv.filters, conv.channels, -1)
        self.weights = np.ascontiguousarray(np.moveaxis(taps, -1, 0))
        self.length = window.line_length
        self.columns = min(self.length, max(BAND_COLUMNS, BAND_ELEMENTS // conv.filters))
        sums = (conv.filters, self.length)
        self.scratch = (conv.room, (conv.filters * self.columns,), sums)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window, (room, product, sums) = self.conv.window, scratch
        for image, output in zip(inputs[0], outputs[0]):
            padded = yield from window.pad(image, room, axis=1)
            line = window.line(padded)
            for start in range(0, self.length, self.columns):
                band = slice(start, start + self.columns)
                yield from self._sum(line[:, band], product, sums[:, band])
            yield partial(np.add, window.rows(sums, axis=1), self.conv.start(), out=output)

    def _sum(self, windows: np.ndarray, product: np.ndarray, sums: np.ndarray) -> Iterator[Step]:
        product = product[: sums.size].reshape(sums.shape)
        shifted = self.conv.window.shifted(windows)
        for number, (part, weights) in enumerate(zip(shifted, self.weights)):
            yield partial(np.matmul, weights, part, out=product if number else sums)
            if number:
                yield partial(np.add, sums, product, out=sums)
