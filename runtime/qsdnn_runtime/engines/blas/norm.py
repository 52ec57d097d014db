"""Normalizations by mean and variance."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Step, scalar


class BatchNormalization(Kernel):
    """x · scale + shift for each channel, with constant scale and shift (BatchNormalization 15).

    S. Ioffe, C. Szegedy, arXiv 1502.03167, in its inference form.
    """

    name = "batch_norm"
    in_place = (0,)

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        gamma, beta, mean, variance = (op.constant(i).astype(np.float64) for i in range(1, 5))
        scale = gamma / np.sqrt(variance + op.number("epsilon"))
        shape = (-1,) + (1,) * (len(op.inputs[0].shape) - 2)
        self.scale = scale.astype(np.float32).reshape(shape)
        self.shift = (beta - mean * scale).astype(np.float32).reshape(shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        yield partial(np.multiply, inputs[0], self.scale, out=outputs[0])
        yield partial(np.add, outputs[0], self.shift, out=outputs[0])


class Standardization(Kernel):
    """(x - mean) / √(variance + epsilon) · scale + shift, over rows of the input.

    A row is a set of elements that share one mean: the last dimensions of a token for
    LayerNormalization 17 (J. Ba et al., arXiv 1607.06450), a channel of an image for
    InstanceNormalization 6, a group of channels for GroupNormalization 21 (Y. Wu, K. He, arXiv
    1803.08494).
    """

    name = "standardize"
    in_place = (0,)

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        rows = op.integer("rows")
        if rows <= 0 or int(np.prod(op.inputs[0].shape)) % rows:
            raise EngineError("%s: %d rows do not fit" % (op.kind, rows))
        self.scratch = ((rows, 1),)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        each = scratch[0]
        x, y = inputs[0].reshape(len(each), -1), outputs[0].reshape(len(each), -1)
        share = scalar(1 / x.shape[1])
        yield partial(np.add.reduce, x, axis=1, out=each, keepdims=True)
        yield partial(np.multiply, each, share, out=each)
        yield partial(np.subtract, x, each, out=y)
        yield partial(np.einsum, "rn,rn->r", y, y, out=each[:, 0], optimize=False)
        yield partial(np.multiply, each, share, out=each)
        yield partial(np.add, each, scalar(self.op.number("epsilon")), out=each)
        yield partial(np.sqrt, each, out=each)
        yield partial(np.divide, y, each, out=y)
        shape = self.op.ints("parameter_shape")  # the shape that broadcasts against the output
        for ufunc, parameter in zip((np.multiply, np.add), inputs[1:]):
            yield partial(ufunc, outputs[0], parameter.reshape(shape), out=outputs[0])
