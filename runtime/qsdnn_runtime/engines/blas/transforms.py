"""Convolution in Winograd's domain and in Fourier's, where it is a product of elements."""

from __future__ import annotations

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Op
from .tiled import Tiled, Transforms

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
