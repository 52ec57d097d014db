"""The algorithms that can compute an operator."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.plain.node import Op, is_constant

LEAST_ZEROS = 0.97
"""The share of a layer's weights that must be zero for `sparse` to be offered. Against the other
algorithms of this family, with OpenBLAS on AVX-512, `sparse` began to win between 0.976 (3×3, 512
channels, 7×7) and 0.985, and not at all with 0.99 on 4 of 8 typical layers:
`python experiments/sparsity.py`."""

SAMPLE = 1 << 14
"""The number of weights that are sampled to estimate that share, to within a percent or so."""

LARGE_FILTER = 5
"""The smallest filters for which `fft` is offered: smaller ones leave `fft` nothing to save."""


def algorithms(op: Op) -> tuple[str, ...]:
    """The algorithms that can run an operator, likely fastest first; none where there is no choice.

    For convolutions:

    - ``direct``: every convolution.
    - ``im2col``: every convolution; for a 1×1 of stride 1 without padding, only the GEMM remains.
    - ``im2row``: one group, and a patch matrix to make (else it would be im2col's GEMM again).
    - ``kn2row``, ``kn2col``: one group, stride 1, more than one tap; any dilation and padding.
    - ``winograd``, ``winograd-small``: 3×3 and 5×5 (the large tiles only), one group, stride 1.
    - ``fft``: square filters from 5×5 to 11×11, one group, stride 1.
    - ``sparse``: one group, and weights that are almost all zero.

    For matrix products: ``gemv`` for one row and a constant matrix, besides ``numpy``.
    """
    if op.kind == "Conv":
        return _of_convolution(op)
    if op.kind in ("Gemm", "MatMul") and _is_vector_product(op):
        return ("numpy", "gemv")
    return ()


def _of_convolution(op: Op) -> tuple[str, ...]:
    kernel = _dims(op.inputs[1])[2:]
    if op.attributes["group"] > 1:
        return ("im2col", "direct")
    sparse = ("sparse",) if _zeros(op.inputs[1]) >= LEAST_ZEROS else ()
    if prod(kernel) == 1:
        padded = any(op.attributes["begins"]) or _dims(op.inputs[0])[2:] != _dims(op.outputs[0])[2:]
        return ("im2col", *(("im2row",) if padded else ()), *sparse, "direct")
    if max(op.attributes["strides"]) > 1:
        return ("im2col", "im2row", *sparse, "direct")
    return (*_tiled(op, kernel), "im2col", "im2row", "kn2row", "kn2col", *sparse, "direct")


def _tiled(op: Op, kernel: list[int]) -> tuple[str, ...]:
    if len(kernel) != 2 or kernel[0] != kernel[1] or max(op.attributes["dilations"]) > 1:
        return ()
    by_size = {3: ("winograd", "winograd-small"), 5: ("winograd",)}
    fft = ("fft",) if LARGE_FILTER <= kernel[0] <= 11 else ()
    return (*by_size.get(kernel[0], ()), *fft)


def _is_vector_product(op: Op) -> bool:
    weights = op.inputs[1]
    rows = prod(_dims(op.outputs[0])[:-1])
    return is_constant(weights) and len(_dims(weights)) == 2 and rows == 1


def _zeros(weights: ir.Value) -> float:
    """The share of a constant's elements that are zero, estimated from a sample."""
    assert weights.const_value is not None
    values = weights.const_value.numpy().reshape(-1)
    sample = values[:: max(1, len(values) // SAMPLE)]
    return 1.0 - np.count_nonzero(sample) / len(sample)


def _dims(value: ir.Value) -> list[Any]:
    return list(value.shape or ())
