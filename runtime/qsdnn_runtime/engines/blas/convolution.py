"""Convolutions by their definition, and the operands of an ONNX Conv, shared by all algorithms."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Generator, Iterator, Optional

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Shape, Step, blocks
from .window import Window, window_of

BLOCK = 1 << 16
"""Elements of a block of channels: input, product and sum together take 768 KiB."""


@dataclass(frozen=True)
class Convolution:
    """y[n, m] = bias[m] + Σ_c Σ_tap weights[m, c, tap] · x[n, c, window(tap)] (ONNX Conv 11).

    Attributes:
        weights: The weights (M, C / groups, *kernel).
        bias: The bias (M,), or None.
        groups: The number of sets of channels that do not mix.
        channels: C, the number of input channels.
        filters: M, the number of output channels.
        window: The window that slides over the input's last dimensions.
    """

    weights: np.ndarray = field(repr=False)
    bias: Optional[np.ndarray] = field(repr=False)
    groups: int
    channels: int
    filters: int
    window: Window

    @property
    def taps(self) -> int:
        """The number of positions in the window."""
        return int(np.prod(self.window.kernel))

    @property
    def positions(self) -> int:
        """The number of windows in one image."""
        return int(np.prod(self.window.out))

    @property
    def room(self) -> Shape:
        """The shape of a padded image (C, *padded); (0,) when the image needs no padding."""
        window = self.window
        return (0,) if window.padded == window.size else (self.channels, *window.padded)

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter reads one channel."""
        return self.groups == self.channels

    def patches(self, x: np.ndarray, room: np.ndarray) -> Generator[Step, None, np.ndarray]:
        """The steps that pad an image (C, *size).

        Args:
            x: The image.
            room: A buffer of the shape `Convolution.room`.

        Returns:
            The patches of the image (C, *kernel, *out), a view.
        """
        rank = len(self.window.out)
        padded = yield from self.window.pad(x, room, axis=1)
        windows = self.window.view(padded, axis=1)  # (C, *out, *kernel)
        return np.moveaxis(windows, range(-rank, 0), range(1, 1 + rank))

    def start(self) -> np.ndarray:
        """The start of a sum over taps (M, 1, …): the bias, or zeros."""
        bias = np.zeros(self.filters, np.float32) if self.bias is None else self.bias
        return bias.reshape((-1,) + (1,) * len(self.window.kernel))


def convolution_of(op: Op) -> Convolution:
    """Reads the operands of a Conv.

    Raises:
        EngineError: The operands do not fit together.
    """
    weights = op.constant(1)
    bias = op.constant(2) if len(op.inputs) > 2 else None
    x, y, groups = op.inputs[0].shape, op.outputs[0].shape, op.integer("group")
    fits = (
        weights.ndim == len(x) == len(y) >= 3
        and x[0] == y[0]
        and groups > 0
        and x[1] == weights.shape[1] * groups
        and y[1] == weights.shape[0]
        and y[1] % groups == 0
        and (bias is None or bias.shape == (y[1],))
    )
    if not fits:
        raise EngineError("Conv: shapes %s, %s and %s do not fit" % (x, weights.shape, y))
    window = window_of(op, weights.shape[2:])
    return Convolution(weights, bias, groups, x[1], y[1], window)


class Bands:
    """The patch matrix of an image in bands of output rows: it stays in cache, in little memory.

    Attributes:
        shape: The shape of the scratch buffer that holds the matrix of one band.
    """

    def __init__(self, conv: Convolution) -> None:
        self._width = int(np.prod(conv.window.out[1:]))
        row = conv.channels * conv.taps * self._width
        self._bands = tuple(conv.window.bands(row))
        start, stop = self._bands[0]
        self.shape: Shape = (row * (stop - start),)

    def cut(
        self, patches: np.ndarray, axis: int, buffer: np.ndarray, result: np.ndarray
    ) -> Iterator[Arrays]:
        """Each band of the patches, flat room for its matrix, and its part of the result.

        Args:
            patches: The patches of an image, whose output rows are along `axis`.
            axis: The dimension of the output rows.
            buffer: The scratch buffer of `shape`.
            result: The output of the product (…, positions).
        """
        for start, stop in self._bands:
            band = patches[(slice(None),) * (axis % patches.ndim) + (slice(start, stop),)]
            part = result[..., start * self._width : stop * self._width]
            yield band, buffer[: band.size], part


class Direct(Kernel):
    """y = bias + Σ_tap Σ_c W[tap, m, c] · x[c, shifted by tap].

    No BLAS is used: the products of one tap are numpy's own loops (`numpy.einsum` with
    ``optimize=False``, which never calls a library), added tap by tap. Only the shifted input of
    one tap is copied, so that the innermost loop runs over all positions of an image.
    """

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


class Depthwise(Kernel):
    """y[c, i] = bias + Σ_tap W[tap, c, i] · x[c, shifted by tap], for i below the multiplier.

    Each tap is one elementwise product of a shifted channel with one weight, added up. Where
    windows move by one, a channel is taken as one line, with its padding: shifting the line shifts
    every row, so that numpy's loops run over whole channels and not over rows. What the line holds
    between rows is dropped at the end. Channels are taken a few at a time, so that they stay in
    cache.
    """

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
