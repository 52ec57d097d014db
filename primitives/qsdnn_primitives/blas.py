"""The engine ``blas``, host half: our own layers on numpy and its BLAS; the reference family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant
from qsdnn_primitives.plain.translation import translate, write_program

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


class BlasEngine:
    """The host half of the engine ``blas``; see `qsdnn.engine.Engine`.

    All primitives are of one family: a segment may mix algorithms as it likes.
    """

    name = "blas"
    is_fallback = True

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """One primitive for each algorithm that runs the layer.

        Likely fastest first. There is none for a pinned layer, for operators without a translation,
        and for tensors that are not static float32.
        """
        try:
            names = _algorithms(translate(layer))
        except UnsupportedError:
            return ()
        return tuple(
            Primitive(engine=self.name, algorithm=name, precision=Precision.FP32, family=self.name)
            for name in names
        )

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a program; the weights stay in the graph's file, linked beside the program.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for.
        """
        layers = []
        for layer, choice in zip(segment.layers, segment.choices, strict=True):
            try:
                ops = translate(layer)
            except UnsupportedError as error:
                raise BuildError(f"blas cannot run layer '{layer.name}': {error}") from error
            if choice.algorithm not in _algorithms(ops) or choice.precision is not Precision.FP32:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(_algorithms(ops))}",
                )
            layers.append(tuple(_computed_by(choice.algorithm, op) for op in ops))
        files = write_program(segment, layers, folder)
        return Artifact(file=files[0], files=tuple(files), options={})


def _algorithms(ops: Sequence[Op]) -> tuple[str, ...]:
    """The algorithms that a layer may take; ``numpy`` alone where the layer has no choice."""
    choices = [choice for choice in map(algorithms, ops) if choice]
    if not choices:
        return ("numpy",)
    return tuple(name for name in choices[0] if all(name in other for other in choices[1:]))


def _computed_by(algorithm: str, op: Op) -> Op:
    """The operator set to an algorithm, if the operator has that choice."""
    return replace(op, algorithm=algorithm) if algorithm in algorithms(op) else op


ENGINE = BlasEngine()
