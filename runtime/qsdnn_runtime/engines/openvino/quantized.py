"""Integers in models made here: the operators that QuantizeLinear and DequantizeLinear become."""

from __future__ import annotations

from typing import Any

import numpy as np

from .library import opset


def quantized(source: Any, limit: float = 1.0, signed: bool = False) -> Any:
    """A value rounded to 8 bits.

    Args:
        source: The operator that makes the value.
        limit: The largest value.
        signed: Whether values range from -limit, as weights do, or from 0, as the output of a ReLU.
    """
    low, levels = (-limit, 255) if signed else (0.0, 256)
    ends = [opset().constant(np.float32(end)) for end in (low, limit)]
    return opset().fake_quantize(source, *ends, *ends, levels)
