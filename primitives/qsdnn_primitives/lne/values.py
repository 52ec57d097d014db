"""Values of a network as the native engine reads them: one image, or a constant."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.lne.program import Weights
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape

Shape = tuple[int, ...]


def image_shape(value: ir.Value) -> tuple[int, int, int]:
    """Channels, height and width of a value of one image.

    Raises:
        UnsupportedError: The value is no image, or a batch of several.
    """
    shape = static_shape(value)
    if not is_image(shape):
        raise UnsupportedError(f"{value.name} is no single image")
    height, width = ((1, 1), (1, shape[-1]), shape[2:])[len(shape) - 2]
    return shape[1], height, width


def is_image(shape: Shape) -> bool:
    """Whether a shape is one image: (1, C), (1, C, W) or (1, C, H, W)."""
    return 2 <= len(shape) <= 4 and shape[0] == 1


def constant_of(value: ir.Value) -> Weights:
    """The value of a constant, in single precision.

    Raises:
        UnsupportedError: The value is no constant.
    """
    if not is_constant(value) or value.const_value is None:
        raise UnsupportedError(f"{value.name} is not constant")
    return np.ascontiguousarray(value.const_value.numpy(), np.float32)


def bias_of(op: Op, channels: int) -> Weights:
    """What a convolution adds to each channel."""
    if len(op.inputs) > 2:
        return constant_of(op.inputs[2]).reshape(-1)
    return np.zeros(channels, np.float32)
