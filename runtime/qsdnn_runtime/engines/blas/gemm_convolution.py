"""Convolutions as matrix products on BLAS: im2col, im2row, kn2row and kn2col."""

from __future__ import annotations

from functools import partial
from typing import Iterable, Iterator, Optional, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import Bands, Convolution, convolution_of
from .kernel import Arrays, Kernel, Op, Step
from .window import BAND_COLUMNS, BAND_ELEMENTS, Window


def _by_group(conv: Convolution) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """The weights (groups, M / groups, C / groups · K²), and the bias (groups, M / groups, 1)."""
    weights = conv.weights.reshape(conv.groups, conv.filters // conv.groups, -1)
    return weights, None if conv.bias is None else conv.bias.reshape(conv.groups, -1, 1)


def _product(
    a: np.ndarray, b: np.ndarray, bias: Optional[np.ndarray], out: np.ndarray
) -> Iterator[Step]:
    """The steps of out = a · b + bias."""
    yield partial(np.matmul, a, b, out=out)
    if bias is not None:
        yield partial(np.add, out, bias, out=out)


class Pointwise(Kernel):
    """y = W (M, C) · x (C, positions).

    1×1 convolutions of stride 1: the image already is im2col's matrix, so only the GEMM remains.
    """

    name = "sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = convolution_of(op)
        self.weights, self.bias = _by_group(self.conv)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        shape = (len(inputs[0]), self.conv.groups, -1, self.conv.positions)
        x, y = inputs[0].reshape(shape), outputs[0].reshape(shape)
        yield from _product(self.weights, x, self.bias, y)


class Im2col(Kernel):
    """y = W (M, C·K²) · patches (C·K², positions).

    K. Chellapilla, S. Puri, P. Simard: High Performance Convolutional Neural Networks for Document
    Processing, IWFHR 2006. The patch matrix holds each input element once for every tap. Groups are
    a batch of products.
    """

    name = "im2col+sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.weights, self.bias = _by_group(conv)
        self.bands = Bands(conv)
        self.scratch = (conv.room, self.bands.shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, columns: np.ndarray
    ) -> Iterator[Step]:
        conv = self.conv
        patches = yield from conv.patches(x, room)
        result = y.reshape(conv.groups, conv.filters // conv.groups, -1)
        for band, matrix, part in self.bands.cut(patches, -len(conv.window.out), columns, result):
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(conv.groups, self.weights.shape[2], -1)
            yield from _product(self.weights, matrix, self.bias, part)


class Im2row(Kernel):
    """y = W (M, K²·C) · patches (positions, K²·C)ᵀ, for one group.

    The matrix is the transpose of im2col's, gathered from a channels-last copy of the image: taps
    of one row of a window are then adjacent in memory (K·C elements a copy, where im2col copies a
    row of the output at a time), which pays where images are small and channels many. A. Anderson,
    A. Vasudevan, C. Keane, D. Gregg: Low-memory GEMM-based convolution algorithms for deep neural
    networks, arXiv 1709.03395.
    """

    name = "im2row+sgemm"
    algorithm = "im2row"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        if conv.groups != 1:
            raise EngineError("im2row takes one group, not %d" % conv.groups)
        taps_first = np.moveaxis(conv.weights, 1, -1)
        self.weights = np.ascontiguousarray(taps_first).reshape(conv.filters, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(-1, 1)
        self.bands = Bands(conv)
        self.scratch = ((*conv.window.padded, conv.channels), self.bands.shape)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, rows: np.ndarray
    ) -> Iterator[Step]:
        yield from _channels_last(self.conv.window, x, room)
        patches = self.conv.window.view(room, axis=0)  # (*out, *kernel, C)
        result = y.reshape(self.conv.filters, -1)
        for band, matrix, part in self.bands.cut(patches, 0, rows, result):
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(-1, self.weights.shape[1])
            yield from _product(self.weights, matrix.T, self.bias, part)


def _channels_last(window: Window, x: np.ndarray, room: np.ndarray) -> Iterator[Step]:
    """The steps that copy an image (C, *size) to channels last, with its padding around it."""
    channels_last = np.moveaxis(x, 0, -1)
    padded = yield from window.pad(channels_last, room, axis=0)
    if padded is channels_last:
        yield partial(np.copyto, room, channels_last)


def _taps_of(op: Op, algorithm: str) -> Tuple[Convolution, np.ndarray]:
    """A convolution of stride 1 and one group, and its weights (M, C, K²).

    Raises:
        EngineError: The convolution has other strides, or more groups.
    """
    conv = convolution_of(op)
    if conv.groups != 1 or max(conv.window.strides) != 1:
        raise EngineError("%s takes one group and stride 1" % algorithm)
    return conv, conv.weights.reshape(conv.filters, conv.channels, -1)


def _positions(conv: Convolution) -> int:
    """The number of positions of the padded image, as one line, that are worked on at a time."""
    return min(conv.window.line_length, max(BAND_COLUMNS, BAND_ELEMENTS // conv.filters))


def _sum(
    factors: Iterable[Tuple[np.ndarray, np.ndarray]], product: np.ndarray, sums: np.ndarray
) -> Iterator[Step]:
    """The steps of sums = Σ a · b, each product made in the buffer `product`."""
    product = product[: sums.size].reshape(sums.shape)
    for number, (a, b) in enumerate(factors):
        yield partial(np.matmul, a, b, out=product if number else sums)
        if number:
            yield partial(np.add, sums, product, out=sums)


class Kn2row(Kernel):
    """y = Σ_tap W[tap] (M, C) · x (C, positions, shifted by tap), for stride 1 and one group.

    A. Vasudevan, A. Anderson, D. Gregg: Parallel Multi Channel Convolution using General Matrix
    Multiplication, ASAP 2017, arXiv 1704.04428; here one tap at a time, its product added to the
    sum (the accumulating form of arXiv 1709.03395), so that nothing is held K² times. The padded
    image is one line: for windows that move by one, a shift is an offset into the line, which the
    GEMM reads as it is.
    """

    name = "kn2row+sgemm"
    algorithm = "kn2row"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        conv, taps = _taps_of(op, self.algorithm)
        self.conv = conv
        self.weights = np.ascontiguousarray(np.moveaxis(taps, -1, 0))
        self.columns = _positions(conv)
        sums = (conv.filters, conv.window.line_length)
        self.scratch = (conv.room, (conv.filters * self.columns,), sums)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window, (room, product, sums) = self.conv.window, scratch
        for image, output in zip(inputs[0], outputs[0]):
            padded = yield from window.pad(image, room, axis=1)
            line = window.line(padded)
            for start in range(0, window.line_length, self.columns):
                band = slice(start, start + self.columns)
                shifted = window.shifted(line[:, band])
                yield from _sum(zip(self.weights, shifted), product, sums[:, band])
            yield partial(np.add, window.rows(sums, axis=1), self.conv.start(), out=output)


class Kn2col(Kernel):
    """yᵀ = Σ_tap xᵀ (positions, shifted by tap, C) · W[tap]ᵀ (C, M), for stride 1 and one group.

    A. Vasudevan, A. Anderson, D. Gregg: Parallel Multi Channel Convolution using General Matrix
    Multiplication, ASAP 2017, arXiv 1704.04428; accumulating as in `kn2row`. The image is copied to
    channels last once, so that the product of a tap has as many columns as there are filters: which
    of kn2row and kn2col suits a GEMM better depends on the number of filters, and on the image's
    size.
    """

    name = "kn2col+sgemm"
    algorithm = "kn2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        conv, taps = _taps_of(op, self.algorithm)
        self.conv = conv
        self.weights = np.ascontiguousarray(taps.transpose(2, 1, 0))
        self.rows = _positions(conv)
        room, sums = (*conv.window.padded, conv.channels), (conv.window.line_length, conv.filters)
        self.scratch = (room, (self.rows * conv.filters,), sums)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window, (room, product, sums) = self.conv.window, scratch
        bias = self.conv.start()
        for image, output in zip(inputs[0], outputs[0]):
            yield from _channels_last(window, image, room)
            line = room.reshape(-1, self.conv.channels)
            for start in range(0, window.line_length, self.rows):
                part = sums[start : start + self.rows]
                places = (start + offset for offset in window.offsets)
                shifted = (line[place : place + len(part)] for place in places)
                yield from _sum(zip(shifted, self.weights), product, part)
            made = np.moveaxis(window.rows(sums, axis=0), -1, 0)
            yield partial(np.add, made, bias, out=output)
