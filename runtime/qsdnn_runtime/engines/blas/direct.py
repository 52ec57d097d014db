"""direct: the convolution by its definition, a sum over taps and channels. The baseline.

No BLAS is used: the products of one tap are numpy's own loops (`numpy.einsum` with
``optimize=False``, which never calls a library), added tap by tap. Only the shifted input of one
tap is copied, so that the innermost loop runs over all positions of an image.
"""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step


class Direct(Kernel):
    """y = bias + Σ_tap Σ_c W[tap, m, c] · x[c, shifted by tap]."""

    name = "direct"
    algorithm = "direct"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        grouped = conv.weights.reshape(conv.groups, -1, conv.channels // conv.groups, conv.taps)
        self.weights = np.ascontiguousarray(np.moveaxis(grouped, -1, 0))
        shifted = conv.channels * conv.positions
        self.scratch = (conv.room, (shifted,), (conv.filters * conv.positions,))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, copy: np.ndarray, tmp: np.ndarray
    ) -> Iterator[Step]:
        conv = self.conv
        matrix = (conv.groups, -1, conv.positions)
        result, product = y.reshape(matrix), tmp.reshape(matrix)
        yield partial(np.copyto, y, conv.start())
        padded = yield from conv.window.pad(x, room, axis=1)
        patches = conv.window.view(padded, axis=1)
        for shifted, weights in zip(conv.window.shifted(patches), self.weights):
            if not shifted.flags.c_contiguous:
                yield partial(np.copyto, copy.reshape(shifted.shape), shifted)
                shifted = copy
            terms = (weights, shifted.reshape(matrix))
            yield partial(np.einsum, "gmc,gcp->gmp", *terms, out=product, optimize=False)
            yield partial(np.add, result, product, out=result)
