"""direct, for depthwise convolutions: each filter reads one channel, so nothing sums over channels.

Each tap is one elementwise product of a shifted channel with one weight, added up. Where windows
move by one, a channel is taken as one line, with its padding: shifting the line shifts every row,
so that numpy's loops run over whole channels and not over rows. What the line holds between rows is
dropped at the end. Channels are taken a few at a time, so that they stay in cache.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Shape, Step, blocks

BLOCK = 1 << 16
"""Elements of a block of channels: input, product and sum together take 768 KiB."""


class Depthwise(Kernel):
    """y[c, i] = bias + Σ_tap W[tap, c, i] · x[c, shifted by tap], for i below the multiplier."""

    name = "depthwise"
    algorithm = "direct"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        window = conv.window
        self.multiplier = conv.filters // conv.channels
        self.in_line = max(window.strides) == 1
        places: Shape = (window.line_length,) if self.in_line else window.out
        each = self.multiplier * int(np.prod(window.padded))
        self.blocks = tuple(blocks(conv.channels, each, BLOCK))
        width = self.blocks[0].stop
        room = (0,) if window.padded == window.size else (width, *window.padded)
        product = (width, self.multiplier, *places)
        self.scratch = (room, product, product if self.in_line else (0,))
        taps = np.moveaxis(conv.weights.reshape(conv.filters, -1), -1, 0)
        shape = (-1, conv.channels, self.multiplier) + (1,) * len(places)
        self.weights = np.ascontiguousarray(taps).reshape(shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window = self.conv.window
        shape = (self.conv.channels, self.multiplier, *window.out)
        bias = self.conv.start().reshape(shape[:2] + (1,) * len(window.out))
        for image, output in zip(inputs[0], outputs[0]):
            for block in self.blocks:
                x, y, weights = image[block], output.reshape(shape)[block], self.weights[:, block]
                room, product, sums = (array[: len(x)] for array in scratch)
                padded = yield from window.pad(x, room, axis=1)
                if self.in_line:
                    yield from self._sum(window.line(padded), weights, product, sums)
                    yield partial(np.add, window.rows(sums, axis=2), bias[block], out=y)
                else:
                    yield from self._sum(window.view(padded, axis=1), weights, product, y)
                    yield partial(np.add, y, bias[block], out=y)

    def _sum(
        self, windows: np.ndarray, weights: np.ndarray, product: np.ndarray, sums: np.ndarray
    ) -> Iterator[Step]:
        shifted = self.conv.window.shifted(windows[:, np.newaxis])
        for number, (part, weight) in enumerate(zip(shifted, weights)):
            yield partial(np.multiply, part, weight, out=product if number else sums)
            if number:
                yield partial(np.add, sums, product, out=sums)
