"""Convolution in the frequency domain, where it is a product of elements.

M. Mathieu, M. Henaff, Y. LeCun: Fast Training of Convolutional Networks through FFTs, ICLR 2014,
arXiv 1312.5851; in tiles, so that small filters on large images do not waste work (N. Vasilache et
al., ICLR 2015, arXiv 1412.7580). Tiles are so small that the transform is a matrix product. The
method pays for large filters: the cost of a tile does not depend on the number of taps.
"""

from __future__ import annotations

import numpy as np

from qsdnn_runtime.engine import EngineError

from .convolution import convolution_of
from .kernel import Op
from .tiled import Tiled, Transforms

TILE = 16
"""Inputs along a tile: longer tiles waste less at borders, but make the filters in the frequency
domain, which are held in memory, larger."""
LARGEST_FILTER = 11


class Fft(Tiled):
    """Tiles of 16 × 16 inputs, of which half of the spectrum suffices: the inputs are real."""

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
