"""The taps of resized images: for each row and column of the output, what it is a sum of.

Taps are (outputs, taps, 2): the place of a row or column in the input, and its weight. Coordinates
are in single precision, as onnxruntime has them: a tie falls to the same side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn_primitives.plain.node import UnsupportedError

Array = NDArray[np.float32]


def copied(places: NDArray[np.int64]) -> Array:
    """Taps that copy a row or column each."""
    return np.stack([places, np.ones_like(places)], axis=-1).astype(np.float32)[:, None]


def taps(size: int, out: int, scale: float, attributes: Mapping[str, Any]) -> Array:
    """The taps of one dimension.

    Args:
        size: The size of the input.
        out: The size of the output.
        scale: The scale: the ratio of the sizes, or nearly.
        attributes: The attributes of Resize in plain form.

    Raises:
        UnsupportedError: The way to resize is unknown.
    """
    if scale == 1:
        return copied(np.arange(out))
    at = _coordinates(size, out, np.float32(scale), str(attributes["coordinates"]))
    match attributes["mode"]:
        case "nearest":
            near = _rounded(at, str(attributes["rounding"]), scale < 1)
            return copied(np.clip(near, 0, size - 1))
        case "linear":
            at = np.clip(at, 0, size - 1)
            first = np.floor(at)
            places, weights = [first, first + 1], [1 - (at - first), at - first]
        case "cubic":
            first = np.floor(at)
            places = [first + tap for tap in (-1, 0, 1, 2)]
            weights = _cubic(at - first, float(attributes["coefficient"]))
        case mode:
            raise UnsupportedError(f"it resizes by {mode}")
    found = np.stack([np.clip(places, 0, size - 1), weights], axis=-1)
    return np.ascontiguousarray(found.transpose(1, 0, 2), np.float32)


def _coordinates(size: int, out: int, scale: np.float32, mode: str) -> Array:
    """The point of the input that each element of the output stands for (ONNX Resize 19)."""
    x, half = np.arange(out, dtype=np.float32), np.float32(0.5)
    match mode:
        case "asymmetric":
            return x / scale
        case "pytorch_half_pixel" if out == 1:
            return np.zeros(1, np.float32)
        case "half_pixel" | "pytorch_half_pixel":
            return (x + half) / scale - half
        case "align_corners" if out == 1:
            return np.zeros(1, np.float32)
        case "align_corners":
            return x * np.float32(size - 1) / np.float32(out - 1)
    raise UnsupportedError(f"it resizes with {mode}")


def _rounded(at: Array, mode: str, shrinks: bool) -> NDArray[np.int64]:
    match mode:
        case "floor":
            near = np.floor(at)
        case "ceil":
            near = np.ceil(at)
        case "simple":
            near = np.ceil(at) if shrinks else np.floor(at)
        case "round_prefer_floor":
            near = np.ceil(at - np.float32(0.5))
        case "round_prefer_ceil":
            near = np.floor(at + np.float32(0.5))
        case _:
            raise UnsupportedError(f"it rounds by {mode}")
    return near.astype(np.int64)


def _cubic(s: Array, a: float) -> list[Array]:
    """The weights of the four taps around a point (Keys, 1981), by its distance to the second."""
    d = s.astype(np.float64)
    near = [(a + 2) * t**3 - (a + 3) * t**2 + 1 for t in (d, 1 - d)]
    far = [a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a for t in (d + 1, 2 - d)]
    return [array.astype(np.float32) for array in (far[0], *near, far[1])]
