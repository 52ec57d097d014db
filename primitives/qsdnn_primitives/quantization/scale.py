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
    """Of a tensor.

    Attributes:
        scale: Distance of two values; (channels,) where each channel has its own.
        zero_point: The integer that stands for 0.
    """

    scale: np.float32 | NDArray[np.float32]
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float) -> Scale:
        """The finest of uint8 that spans a range, which has 0 in it; 0 is represented exactly.

        Asymmetric, since onnxruntime folds no activation into a convolution with symmetric ones.
        """
        span = (high - low) / _UINT8_MAX
        if span < np.finfo(np.float32).tiny:
            return cls(np.float32(1), 0)
        return cls(np.float32(span), int(np.clip(round(-low / span), 0, _UINT8_MAX)))

    @classmethod
    def of_values(cls, values: NDArray[np.float32]) -> Scale:
        """That of the range of some values, and 0."""
        return cls.of_range(min(values.min(), 0), max(values.max(), 0))

    def quantize(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The uint8 of some values, those out of range at its ends."""
        integers: NDArray[np.float32] = np.rint(values / self.scale) + self.zero_point
        return integers.clip(0, _UINT8_MAX).astype(np.uint8)


def quantize_weight(
    weight: NDArray[np.float32],
    axis: int,
    data: np.float32 | NDArray[np.float32],
    bias: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric integers, one scale for each channel.

    Args:
        weight: Any shape.
        axis: Of the output channels.
        data: Scale of what it is multiplied with.
        bias: (channels,): where it is huge, the scale is larger than the weights need, so that
            the bias in steps of their product does not overflow 32 bits.

    Returns:
        The integers, and (channels,) scales.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=others) / np.float32(_INT8_MAX)
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / (data * np.float32(0.99 * _INT32_MAX)))
    scale = np.where(scale < np.finfo(np.float32).tiny, 1, scale).astype(np.float32)
    integers = np.rint(weight / np.expand_dims(scale, others))
    return integers.clip(-_INT8_MAX, _INT8_MAX).astype(np.int8), scale
