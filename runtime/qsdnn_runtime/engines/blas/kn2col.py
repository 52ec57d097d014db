"""kn2col: kn2row with channels last; the shifted products are adjacent rows of a matrix.

A. Vasudevan, A. Anderson, D. Gregg: Parallel Multi Channel Convolution using General Matrix
Multiplication, ASAP 2017, arXiv 1704.04428; accumulating as in `kn2row`. The image is copied to
channels last once, so that the product of a tap has as many columns as there are filters: which of
kn2row and kn2col suits a GEMM better depends on the number of filters, and on the image's size.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step
from .window import BAND_COLUMNS, BAND_ELEMENTS


class Kn2col(Kernel):
    """yᵀ = Σ_tap xᵀ (positions, shifted by tap, C) · W[tap]ᵀ (C, M), for stride 1 and one group."""

    name = "kn2col+sgemm"
    algorithm = "kn2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        window = conv.window
        if conv.groups != 1 or max(window.strides) != 1:
            raise EngineError("kn2col takes one group and stride 1")
        taps = conv.weights.reshape(conv.filters, conv.channels, -1)
        self.weights = np.ascontiguousarray(taps.transpose(2, 1, 0))
        self.length = window.line_length
        self.rows = min(self.length, max(BAND_COLUMNS, BAND_ELEMENTS // conv.filters))
        room = (*window.padded, conv.channels)
        self.scratch = (room, (self.rows * conv.filters,), (self.length, conv.filters))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window, (room, product, sums) = self.conv.window, scratch
        bias = self.conv.start()
        for image, output in zip(inputs[0], outputs[0]):
            channels_last = np.moveaxis(image, 0, -1)
            padded = yield from window.pad(channels_last, room, axis=0)
            if padded is channels_last:
                yield partial(np.copyto, room, channels_last)
            line = room.reshape(-1, self.conv.channels)
            for start in range(0, self.length, self.rows):
                yield from self._sum(line, start, product, sums)
            made = np.moveaxis(window.rows(sums, axis=0), -1, 0)
            yield partial(np.add, made, bias, out=output)

    def _sum(
        self, line: np.ndarray, start: int, product: np.ndarray, sums: np.ndarray
    ) -> Iterator[Step]:
        part = sums[start : start + self.rows]
        product = product[: part.size].reshape(part.shape)
        for number, (offset, weights) in enumerate(zip(self.conv.window.offsets, self.weights)):
            rows = line[start + offset : start + offset + len(part)]
            yield partial(np.matmul, rows, weights, out=product if number else part)
            if number:
                yield partial(np.add, part, product, out=part)
