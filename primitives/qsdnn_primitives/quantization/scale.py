"""Scales: value = scale · (integer − zero point)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_UINT8_MAX = 255
_INT8_MAX = 127  # −128 is left out, so that weights are symmetric
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of a tensor's integers.

    Attributes:
        scale: The distance of two neighbouring values; (channels,) where each channel has its own.
        zero_point: The integer that stands for 0.
    """

    scale: np.float32 | NDArray[np.float32]
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Scale:
        """The finest scale of uint8 that spans a range with 0 in it; 0 is represented exactly.

        The scale is asymmetric, as onnxruntime folds no activation into a symmetric convolution.
        """
        span = (high - low) / _UINT8_MAX
        if span < np.finfo(np.float32).tiny:
            return cls(np.float32(1), 0)
        return cls(np.float32(span), int(np.clip(round(-low / span), 0, _UINT8_MAX)))

    @classmethod
    def of_values(cls, values: NDArray[np.float32]) -> Scale:
        """The scale of the range of some values and 0."""
        return cls.of_range(min(values.min(), 0), max(values.max(), 0))

    def quantize(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Values rounded to uint8; values out of range go to its ends."""
        integers: NDArray[np.float32] = np.rint(values / self.scale) + self.zero_point
        return integers.clip(0, _UINT8_MAX).astype(np.uint8)


def quantize_weight(
    weight: NDArray[np.float32],
    axis: int,
    data: np.float32 | NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric integers for weights, with one scale for each channel.

    Args:
        weight: The weights, of any shape.
        axis: The axis of the output channels.
        data: The scale of the data that the weights are multiplied with.
        bias: The bias (channels,), or None. Where it is huge, the scale is larger than the weights
            need, so that the bias in steps of the product does not overflow 32 bits.

    Returns:
        The integers, and the scales (channels,).
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others) / np.float32(_INT8_MAX)
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / (data * np.float32(0.99 * _INT32_MAX)))
    scale = np.where(scale < np.finfo(np.float32).tiny, 1, scale).astype(np.float32)
    integers = np.rint(weight / np.expand_dims(scale, others))
    return integers.clip(-_INT8_MAX, _INT8_MAX).astype(np.int8), scale
