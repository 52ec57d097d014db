"""Convolutions as matrix products on BLAS: im2col, im2row, kn2row and kn2col."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Arrays, Kernel, Op, Step
from .window import BAND_COLUMNS, BAND_ELEMENTS


class Pointwise(Kernel):
    """y = W (M, C) · x (C, positions).

    1×1 convolutions of stride 1: the image already is im2col's matrix, so only the GEMM remains.
    """

    name = "sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.weights = conv.weights.reshape(conv.groups, conv.filters // conv.groups, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(conv.groups, -1, 1)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        shape = (len(inputs[0]), self.conv.groups, -1, self.conv.positions)
        x, y = inputs[0].reshape(shape), outputs[0].reshape(shape)
        yield partial(np.matmul, self.weights, x, out=y)
        if self.bias is not None:
            yield partial(np.add, y, self.bias, out=y)


class Im2col(Kernel):
    """y = W (M, C·K²) · patches (C·K², positions).

    K. Chellapilla, S. Puri, P. Simard: High Performance Convolutional Neural Networks for Document
    Processing, IWFHR 2006. The patch matrix holds each input element once for every tap; the matrix
    is made in bands of output rows, so that it stays in cache and needs little memory. Groups are a
    batch of products.
    """

    name = "im2col+sgemm"
    algorithm = "im2col"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.conv = conv = convolution_of(op)
        self.weights = conv.weights.reshape(conv.groups, conv.filters // conv.groups, -1)
        self.bias = None if conv.bias is None else conv.bias.reshape(conv.groups, -1, 1)
        row = conv.channels * conv.taps * int(np.prod(conv.window.out[1:]))
        self.bands = tuple(conv.window.bands(row))
        self.scratch = (conv.room, (row * (self.bands[0][1] - self.bands[0][0]),))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, columns: np.ndarray
    ) -> Iterator[Step]:
        conv, window = self.conv, self.conv.window
        rank = len(window.out)
        padded = yield from window.pad(x, room, axis=1)
        patches = window.view(padded, axis=1)  # (C, *out, *kernel) -> (C, *kernel, *out)
        patches = np.moveaxis(patches, range(-rank, 0), range(1, 1 + rank))
        result = y.reshape(conv.groups, conv.filters // conv.groups, -1)
        width = int(np.prod(window.out[1:]))
        for start, stop in self.bands:
            band = patches[(slice(None),) * (1 + rank) + (slice(start, stop),)]
            matrix = columns[: band.size]
            part = result[:, :, start * width : stop * width]
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(conv.groups, self.weights.shape[2], -1)
            yield partial(np.matmul, self.weights, matrix, out=part)
            if self.bias is not None:
                yield partial(np.add, part, self.bias, out=part)


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
        row = self.weights.shape[1] * int(np.prod(conv.window.out[1:]))
        self.bands = tuple(conv.window.bands(row))
        room = (*conv.window.padded, conv.channels)
        self.scratch = (room, (row * (self.bands[0][1] - self.bands[0][0]),))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for image, output in zip(inputs[0], outputs[0]):
            yield from self._image(image, output, *scratch)

    def _image(
        self, x: np.ndarray, y: np.ndarray, room: np.ndarray, rows: np.ndarray
    ) -> Iterator[Step]:
        window = self.conv.window
        channels_last = np.moveaxis(x, 0, -1)
        padded = yield from window.pad(channels_last, room, axis=0)
        if padded is channels_last:
            yield partial(np.copyto, room, channels_last)
        patches = window.view(room, axis=0)  # (*out, *kernel, C)
        result = y.reshape(self.conv.filters, -1)
        width = int(np.prod(window.out[1:]))
        for start, stop in self.bands:
            band = patches[start:stop]
            matrix = rows[: band.size]
            part = result[:, start * width : stop * width]
            yield partial(np.copyto, matrix.reshape(band.shape), band)
            matrix = matrix.reshape(-1, self.weights.shape[1])
            yield partial(np.matmul, self.weights, matrix.T, out=part)
            if self.bias is not None:
                yield partial(np.add, part, self.bias, out=part)


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
        self.conv = conv = convolution_of(op)
        window = conv.window
        if conv.groups != 1 or max(window.strides) != 1:
            raise EngineError("kn2row takes one group and stride 1")
        taps = conv.weights.reshape(conv.filters, conv.channels, -1)
        self.weights = np.ascontiguousarray(np.moveaxis(taps, -1, 0))
        self.length = window.line_length
        self.columns = min(self.length, max(BAND_COLUMNS, BAND_ELEMENTS // conv.filters))
        sums = (conv.filters, self.length)
        self.scratch = (conv.room, (conv.filters * self.columns,), sums)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        window, (room, product, sums) = self.conv.window, scratch
        for image, output in zip(inputs[0], outputs[0]):
            padded = yield from window.pad(image, room, axis=1)
            line = window.line(padded)
            for start in range(0, self.length, self.columns):
                band = slice(start, start + self.columns)
                yield from self._sum(line[:, band], product, sums[:, band])
            yield partial(np.add, window.rows(sums, axis=1), self.conv.start(), out=output)

    def _sum(self, windows: np.ndarray, product: np.ndarray, sums: np.ndarray) -> Iterator[Step]:
        product = product[: sums.size].reshape(sums.shape)
        shifted = self.conv.window.shifted(windows)
        for number, (part, weights) in enumerate(zip(shifted, self.weights)):
            yield partial(np.matmul, weights, part, out=product if number else sums)
            if number:
                yield partial(np.add, sums, product, out=sums)


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
