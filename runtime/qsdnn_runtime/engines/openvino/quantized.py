"""Integers in models made here: what QuantizeLinear and DequantizeLinear become."""

from __future__ import annotations

from typing import Any

import numpy as np

from .library import opset


def quantized(source: Any, limit: float = 1.0, signed: bool = False) -> Any:
    """A value rounded to 8 bits.

    Args:
        source: An operator.
        limit: The largest value.
        signed: Whether from -limit, as weights are, or from 0, as what a ReLU makes.
    """
    low, levels = (-limit, 255) if signed else (0.0, 256)
    ends = [opset().constant(np.float32(end)) for end in (low, limit)]
    return opset().fake_quantize(source, *ends, *ends, levels)
