"""Local response normalization across channels (ONNX LRN 13)."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .kernel import Arrays, Kernel, Op, Step, scalar


class LRN(Kernel):
    """y = x / (bias + alpha / size · Σ x² over `size` neighbouring channels) ^ beta.

    A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural
    Networks, NIPS 2012, section 3.3.
    """

    name = "lrn"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        image = op.inputs[0].shape[1:]
        self.scratch = (image, image)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, squares: np.ndarray, total: np.ndarray
    ) -> Iterator[Step]:
        size = self.op.integer("size")
        yield partial(np.multiply, x, x, out=squares)
        yield partial(np.copyto, total, squares)
        # ONNX: channels c - floor((size - 1) / 2) ... c + ceil((size - 1) / 2)
        for offset in range(-((size - 1) // 2), size // 2 + 1):
            low, high = max(0, -offset), min(len(x), len(x) - offset)
            if offset and low < high:
                part = total[low:high]
                yield partial(np.add, part, squares[low + offset : high + offset], out=part)
        yield partial(np.multiply, total, scalar(self.op.number("alpha") / size), out=total)
        yield partial(np.add, total, scalar(self.op.number("bias")), out=total)
        yield from self._power(total, squares)
        yield partial(np.divide, x, total, out=y)

    def _power(self, total: np.ndarray, room: np.ndarray) -> Iterator[Step]:
        beta = self.op.number("beta")
        if beta == 0.75:  # as published; two square roots are several times faster than a power
            yield partial(np.sqrt, total, out=room)
            yield partial(np.sqrt, room, out=total)
            yield partial(np.multiply, room, total, out=total)
        else:
            yield partial(np.power, total, scalar(beta), out=total)
