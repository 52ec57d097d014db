"""direct, for depthwise convolutions: each filter reads one channel, so there is no sum over them.

Each tap is one elementwise product of a shifted channel with one weight, added up. Channels are
taken a few at a time: their taps are then read from cache.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step, blocks


class Depthwise(Kernel):
    """y[c, i] = bias + Σ_tap W[tap, c, i] · x[c, shifted by tap], for i below the multiplier."""

    name = "depthwise"
    algorithm = "direct"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.multiplier = conv.filters // conv.channels
        ones = (1,) * len(conv.window.out)
        taps = conv.weights.reshape(conv.channels, self.multiplier, *ones, conv.taps)
        self.weights = np.ascontiguousarray(np.moveaxis(taps, -1, 0))
        each = int(np.prod(conv.window.padded)) * self.multiplier
        self.blocks = tuple(blocks(conv.channels, each))
        width = self.blocks[0].stop
        room = (0,) if conv.room == (0,) else (width, *conv.window.padded)
        self.scratch = (room, (width, self.multiplier, *conv.window.out))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        shape = (self.conv.channels, self.multiplier, *self.conv.window.out)
        for image, output in zip(inputs[0], outputs[0]):
            for block in self.blocks:
                part = output.reshape(shape)[block]
                yield from self._block(image[block], part, self.weights[:, block], *scratch)
            if self.conv.bias is not None:
                yield partial(np.add, output, self.conv.start(), output)

    def _block(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
        room: np.ndarray,
        product: np.ndarray,
    ) -> Iterator[Step]:
        window = self.conv.window
        padded = yield from window.pad(x, room[: len(x)], axis=1)
        patches = window.view(padded, axis=1)[:, np.newaxis]
        product = product[: len(x)]
        for number, (tap, weight) in enumerate(zip(window.taps, weights)):
            shifted = patches[(..., *tap)]
            yield partial(np.multiply, shifted, weight, product if number else y)
            if number:
                yield partial(np.add, y, product, y)
