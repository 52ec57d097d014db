"""Normalizations: by mean and variance, across channels, and softmax."""

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


class LRN(Kernel):
    """y = x / (bias + alpha / size · Σ x² over `size` neighbouring channels) ^ beta (ONNX LRN 13).

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


class Softmax(Kernel):
    """exp(x - max) / Σ exp(x - max), over some dimensions (ONNX Softmax 13)."""

    name = "softmax"
    in_place = (0,)

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.axes = op.ints("axes")
        shape = op.inputs[0].shape
        self.scratch = (tuple(1 if axis in self.axes else n for axis, n in enumerate(shape)),)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y, each = inputs[0], outputs[0], scratch[0]
        yield from self._powers(x, each, y, y)
        yield partial(np.divide, y, each, out=y)

    def _powers(
        self, x: np.ndarray, each: np.ndarray, y: np.ndarray, powers: np.ndarray
    ) -> Iterator[Step]:
        """The steps of y = x - max, then powers = exp(y), which may be y, and each = Σ powers."""
        yield partial(np.maximum.reduce, x, axis=self.axes, out=each, keepdims=True)
        yield partial(np.subtract, x, each, out=y)
        yield partial(np.exp, y, out=powers)
        yield partial(np.add.reduce, powers, axis=self.axes, out=each, keepdims=True)


class LogSoftmax(Softmax):
    """x - max - log Σ exp(x - max), over some dimensions."""

    name = "log_softmax"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.scratch = (*self.scratch, op.inputs[0].shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y, (each, powers) = inputs[0], outputs[0], scratch
        yield from self._powers(x, each, y, powers)
        yield partial(np.log, each, out=each)
        yield partial(np.subtract, y, each, out=y)
