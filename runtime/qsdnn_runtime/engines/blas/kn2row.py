"""kn2row: a K×K convolution is the sum of K² convolutions 1×1, each shifted.

A. Vasudevan, A. Anderson, D. Gregg: Parallel Multi Channel Convolution using General Matrix
Multiplication, ASAP 2017, arXiv 1704.04428; here one tap at a time, its product added where the
shift puts it, so that nothing is copied K² times (the accumulating form of arXiv 1709.03395). A
product computes every position of the input, so it pays where windows move by one.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Shape, Step


class Kn2row(Kernel):
    """y += shift_tap(W[tap] (M, C) · x (C, positions)), for stride 1 and one group."""

    name = "kn2row+sgemm"
    algorithm = "kn2row"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        window = conv.window
        if conv.groups != 1 or max(window.strides) != 1:
            raise EngineError("kn2row takes one group and stride 1")
        matrices = conv.weights.reshape(conv.filters, conv.channels, -1)
        self.weights = np.ascontiguousarray(np.moveaxis(matrices, -1, 0))
        row = conv.filters * int(np.prod(window.size[1:]))
        self.bands = tuple(window.bands(row))
        self.scratch = ((row * (self.bands[0][1] - self.bands[0][0]),),)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        start = self.conv.start()
        for image, output in zip(inputs[0], outputs[0]):
            yield partial(np.copyto, output, start)
            for band in self.bands:
                for tap, weights in zip(self.conv.window.taps, self.weights):
                    yield from self._tap(tap, band, weights, image, output, scratch[0])

    def _tap(
        self,
        tap: Shape,
        band: Tuple[int, int],
        weights: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        room: np.ndarray,
    ) -> Iterator[Step]:
        window = self.conv.window
        target, source = [slice(None)], [slice(None)]
        for axis, offset in enumerate(self._offsets(tap)):
            low = max(band[0] if axis == 0 else 0, -offset)
            high = min(band[1] if axis == 0 else window.out[axis], window.size[axis] - offset)
            if low >= high:
                return  # the tap sees nothing but padding
            target.append(slice(low, high))
            source.append(slice(low + offset, high + offset))
        width = int(np.prod(window.size[1:]))
        rows = x.reshape(len(x), -1)[:, source[1].start * width : source[1].stop * width]
        product = room[: len(y) * rows.shape[1]].reshape(len(y), -1)
        yield partial(np.matmul, weights, rows, product)
        source[1] = slice(None)
        shifted = product.reshape(len(y), -1, *window.size[1:])[tuple(source)]
        into = y[tuple(target)]
        yield partial(np.add, into, shifted, into)

    def _offsets(self, tap: Shape) -> Iterator[int]:
        """Where in the input a tap of the window at the origin lies."""
        window = self.conv.window
        return (t * d - b for t, d, b in zip(tap, window.dilations, window.begins))
