"""Convolution by tiles in a domain where it is a product of elements: Winograd's or Fourier's.

A tile of n × n inputs gives m × m outputs, n = m + r − 1 for filters of r × r. With transforms of
input (B), filter (G) and output (A),

    Y = A [ Σ_c (G w G') ⊙ (B x B') ] A'

where the sum over channels, for each of the n² elements of a tile, is a matrix product over all
tiles of a band at once. There are fewer multiplications than taps, at the cost of the transforms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Iterator, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import Convolution, convolution_of
from .kernel import Arrays, Kernel, Op, Shape, Step

BAND_ELEMENTS = 1 << 18
"""Elements of the transformed tiles that are made at a time: 1 MiB of float32, for the caches."""
BAND_TILES = 64
"""The fewest tiles in a band: with fewer, the products are no longer matrix products."""


@dataclass(frozen=True)
class Transforms:
    """The matrices of one dimension; the two dimensions of a tile may have different ones.

    Attributes:
        input: The matrix B (k, n).
        filter: The matrix G (k, r).
        output: The matrix A (m, k).
    """

    input: np.ndarray
    filter: np.ndarray
    output: np.ndarray

    @property
    def tile(self) -> int:
        """n: the number of inputs along a tile."""
        return int(self.input.shape[1])

    @property
    def made(self) -> int:
        """m: the number of outputs along a tile."""
        return len(self.output)


class Tiled(Kernel):
    """A convolution in two dimensions of stride 1, without dilation, of one group.

    Args:
        op: The operator, a Conv with a square filter.
        rows: The transforms over the height.
        columns: The transforms over the width, of the same sizes as `rows`.
    """

    def __init__(self, op: Op, rows: Transforms, columns: Transforms) -> None:
        super().__init__(op)
        self.conv = conv = check_tileable(op)
        self.rows, self.columns = rows, columns
        tiles = tuple(-(-size // rows.made) for size in conv.window.out)
        self.window = replace(
            conv.window,
            kernel=(rows.tile,) * 2,
            strides=(rows.made,) * 2,
            out=tiles,
        )
        # (k, k', M, C): a matrix for each element of a tile
        transformed = np.einsum("ai,bj,mcij->abmc", rows.filter, columns.filter, conv.weights)
        self.dtype = np.result_type(rows.input, np.float32)
        self.weights = np.ascontiguousarray(transformed.astype(self.dtype))
        self.bands = tuple(self._bands(tiles))
        self.scratch = self._scratch(max(stop - start for start, stop in self.bands) * tiles[1])

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        room, first, second = scratch
        for image, output in zip(inputs[0], outputs[0]):
            padded = yield from self.window.pad(image, room, axis=1)
            tiles = self.window.view(padded, axis=1)  # (C, rows, columns, n, n')
            for start, stop in self.bands:
                yield from self._band(tiles[:, start:stop], output, start, first, second)

    def _band(
        self, tiles: np.ndarray, y: np.ndarray, top: int, first: np.ndarray, second: np.ndarray
    ) -> Iterator[Step]:
        """The steps of one band: each stage reads one of the two buffers and writes the other."""
        channels, filters = self.conv.channels, self.conv.filters
        count = tiles.shape[1] * tiles.shape[2]
        n, m = self.rows.tile, self.rows.made
        k, k2 = len(self.rows.input), len(self.columns.input)

        gathered = self._room(first, (n, n, channels, *tiles.shape[1:3]))
        yield partial(np.copyto, gathered, np.moveaxis(tiles, (3, 4), (0, 1)))
        wide = self._room(second, (k, n * channels * count))
        yield partial(np.matmul, self.rows.input, gathered.reshape(n, -1), out=wide)
        spectrum = self._room(first, (k, k2, channels * count))
        yield partial(
            np.matmul, self.columns.input, wide.reshape(k, n, channels * count), out=spectrum
        )
        product = self._room(second, (k, k2, filters, count))
        spectrum = spectrum.reshape(k, k2, channels, count)
        yield partial(np.matmul, self.weights, spectrum, out=product)
        narrow = self._room(first, (m, k2 * filters * count))
        yield partial(np.matmul, self.rows.output, product.reshape(k, -1), out=narrow)
        result = self._room(second, (m, m, filters * count))
        yield partial(
            np.matmul, self.columns.output, narrow.reshape(m, k2, filters * count), out=result
        )
        result = result.reshape(m, m, filters, *tiles.shape[1:3]).real
        yield from self._place(result, y[:, top * m :])

    def _place(self, result: np.ndarray, y: np.ndarray) -> Iterator[Step]:
        """Writes tiles' outputs (m, m, M, rows, columns) to their places, as far as y reaches."""
        m = self.rows.made
        y = y[:, : m * result.shape[3]]
        bias = self.conv.start()
        for i in range(m):
            for j in range(m):
                part = y[:, i::m, j::m]
                mine = result[i, j, :, : part.shape[1], : part.shape[2]]
                yield partial(np.add, mine, bias, out=part)

    def _bands(self, tiles: Shape) -> Iterator[Tuple[int, int]]:
        each = max(self.conv.channels, self.conv.filters) * self.rows.tile * self.rows.tile
        height = max(1, max(BAND_ELEMENTS // each, BAND_TILES) // tiles[1])
        for start in range(0, tiles[0], height):
            yield start, min(start + height, tiles[0])

    def _scratch(self, count: int) -> Tuple[Shape, ...]:
        """The shapes of the padded image, and of two buffers for any stage of a band of tiles."""
        window, channels, filters = self.window, self.conv.channels, self.conv.filters
        room = (0,) if window.padded == window.size else (channels, *window.padded)
        n, m = self.rows.tile, self.rows.made
        k, k2 = len(self.rows.input), len(self.columns.input)
        floats = self.dtype.itemsize // np.dtype(np.float32).itemsize
        first = max(n * n * channels, k * k2 * channels, m * k2 * filters)
        second = max(k * n * channels, k * k2 * filters, m * m * filters)
        return room, (floats * first * count,), (floats * second * count,)

    def _room(self, buffer: np.ndarray, shape: Shape) -> np.ndarray:
        whole = buffer.view(self.dtype)
        return whole[: int(np.prod(shape))].reshape(shape)


def check_tileable(op: Op) -> Convolution:
    """The convolution of an operator, checked to be one that tiles can run.

    Raises:
        EngineError: The Conv has strides, dilations, groups, or not two dimensions.
    """
    conv = convolution_of(op)
    window = conv.window
    square = len(window.kernel) == 2 and window.kernel[0] == window.kernel[1]
    if conv.groups != 1 or not square or max(window.strides + window.dilations) > 1:
        raise EngineError("tiles take square filters of stride 1, no dilation and one group")
    return conv


POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
"""The points besides infinity: three serve for tiles of 4, five for tiles of 6."""

SMALL_TILE, LARGE_TILE = 4, 6
FILTERS = (3, 5)
TILE = 16
"""Inputs along a tile: longer tiles waste less at borders, but make the filters in the frequency
domain, which are held in memory, larger."""
LARGEST_FILTER = 11


class Winograd(Tiled):
    """F(2×2, 3×3) in tiles of 4; F(4×4, 3×3) and F(2×2, 5×5) in tiles of 6.

    A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, CVPR 2016, arXiv
    1509.09308; the matrices are made by the method of Toom and Cook (S. Winograd: Arithmetic
    Complexity of Computations, 1980): outputs and inputs are seen as polynomials, evaluated at
    points, and put together again. Small points keep rounding errors small, which grow quickly with
    the size of the tile (B. Barabasz et al.: Error Analysis and Improving the Accuracy of Winograd
    Convolution, arXiv 1803.10986).

    Args:
        op: The operator, a Conv with a filter of 3×3 or 5×5.
        tile: The number of inputs along a tile.
    """

    def __init__(self, op: Op, tile: int) -> None:
        size = convolution_of(op).window.kernel[0]
        if size not in FILTERS or tile - size < 1:
            raise EngineError("winograd takes no filter of %d in tiles of %d" % (size, tile))
        transforms = toom_cook(tile - size + 1, size)
        super().__init__(op, transforms, transforms)
        self.name = "winograd F(%d,%d)+sgemm" % (tile - size + 1, size)
        self.algorithm = "winograd" if tile == LARGE_TILE else "winograd-small"


def toom_cook(made: int, taps: int) -> Transforms:
    """The matrices of F(made, taps), evaluated at the first of `POINTS` and at infinity.

    Raises:
        ValueError: F(made, taps) takes more points than there are.
    """
    tile = made + taps - 1
    points = np.array(POINTS[: tile - 1])
    if len(points) < tile - 1:
        raise ValueError("F(%d,%d) takes %d points" % (made, taps, tile - 1))
    others = [np.delete(points, i) for i in range(len(points))]
    scale = np.array([np.prod(point - rest) for point, rest in zip(points, others)])
    # Lagrange's polynomials, lowest power first, without their denominators, which scale G.
    lagrange = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    infinite = np.poly(points)[::-1]
    at_infinity = np.zeros((1, max(made, taps)))
    at_infinity[0, -1] = 1.0
    powers = points[:, None] ** np.arange(max(made, taps))
    evaluate_made = np.vstack([powers[:, :made], _last(made)])
    evaluate_taps = np.vstack([powers[:, :taps] / scale[:, None], _last(taps)])
    return Transforms(
        input=np.vstack([*lagrange, infinite]).astype(np.float32),
        filter=evaluate_taps,
        output=np.ascontiguousarray(evaluate_made.T).astype(np.float32),
    )


def _last(count: int) -> np.ndarray:
    """The value of a polynomial at infinity, as a row of `count` factors: the last coefficient."""
    row = np.zeros((1, count))
    row[0, -1] = 1.0
    return row


class Fft(Tiled):
    """Tiles of 16 × 16 inputs, of which half of the spectrum suffices: the inputs are real.

    M. Mathieu, M. Henaff, Y. LeCun: Fast Training of Convolutional Networks through FFTs, ICLR
    2014, arXiv 1312.5851; in tiles, so that small filters on large images do not waste work (N.
    Vasilache et al., ICLR 2015, arXiv 1412.7580). Tiles are so small that the transform is a matrix
    product. The method pays for large filters: the cost of a tile does not depend on the number of
    taps.
    """

    name = "dft+cgemm"
    algorithm = "fft"

    def __init__(self, op: Op) -> None:
        size = convolution_of(op).window.kernel[0]
        if size > LARGEST_FILTER:
            raise EngineError("fft takes filters up to %d, not %d" % (LARGEST_FILTER, size))
        super().__init__(op, fourier(TILE, size, half=True), fourier(TILE, size, half=False))


def fourier(tile: int, taps: int, half: bool) -> Transforms:
    """Discrete Fourier transforms of a tile, and back to the outputs that do not wrap around.

    Args:
        tile: n, the number of inputs along a tile.
        taps: r, the number of filter taps along a tile.
        half: Whether only frequencies up to n / 2 are kept. The other frequencies are the
            conjugates of these, which count twice on the way back; the result is then the real
            part.
    """
    frequencies = np.arange(tile // 2 + 1 if half else tile)
    forward = np.exp(-2j * np.pi / tile * np.outer(frequencies, np.arange(tile)))
    back = np.conj(forward[:, : tile - taps + 1]).T / tile
    if half:
        back[:, 1 : (tile + 1) // 2] *= 2
    # ONNX's convolution is a correlation: the filter is conjugated.
    return Transforms(
        input=forward.astype(np.complex64),
        filter=np.conj(forward[:, :taps]),
        output=np.ascontiguousarray(back.astype(np.complex64)),
    )
