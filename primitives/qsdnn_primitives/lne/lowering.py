"""Lowers the layers of a segment to the steps of a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from qsdnn.model.layer import Layer
from qsdnn.primitive import Precision
from qsdnn_primitives.lne import (
    batch,
    convolution,
    elementwise,
    layout,
    narrow,
    product,
    resampling,
    rows,
    transposed,
    vanilla,
)
from qsdnn_primitives.lne.activation import function_of
from qsdnn_primitives.lne.arguments import OPERATIONS
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.composition import composed
from qsdnn_primitives.lne.convolution import Geometry
from qsdnn_primitives.lne.fusion import Fused, fuse
from qsdnn_primitives.lne.shape import winograd_time
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate

AUTO = "auto"
"""The algorithm of layers without a choice."""

LARGE = 12
"""The least side of an image for tiles of 6 × 6; those of 2 × 2 are for smaller images."""

_LOWERINGS: Mapping[str, Callable[[Builder, Fused], None]] = {
    **dict.fromkeys(OPERATIONS, elementwise.binary),
    **dict.fromkeys(("Softmax", "LogSoftmax"), rows.softmax),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), rows.reduction),
    **dict.fromkeys(("MaxPool", "AveragePool"), rows.pool),
    **dict.fromkeys(("Gemm", "MatMul"), product.product),
    "BatchNormalization": elementwise.batch_normalization,
    "Concat": layout.concat,
    "ConvTranspose": transposed.convolution,
    "Expand": layout.expand,
    "Gather": layout.gather,
    "LRN": rows.lrn,
    "Pad": layout.pad,
    "PadIndexed": layout.pad_indexed,
    "Reshape": layout.reshape,
    "Resize": resampling.resize,
    "Slice": layout.crop,
    "Split": layout.split,
    "Standardization": rows.standardization,
    "Transpose": layout.transpose,
}


def read(layer: Layer) -> list[Op]:
    """The operators of a layer, as far as there are kernels for them.

    Raises:
        UnsupportedError: A node has no translation.
    """
    return composed(translate(layer, WITH_RESAMPLING))


def algorithms(op: Op) -> tuple[str, ...]:
    """The algorithms that can run an operator, likely fastest first; none without a choice.

    Raises:
        UnsupportedError: No algorithm can.
    """
    if op.kind in ("Gemm", "MatMul"):
        return ("gemm",)
    if op.kind == "ConvTranspose":
        return ("direct",)
    if op.kind != "Conv":
        return ()
    geometry = Geometry(batch.of_one(op))
    if geometry.is_depthwise:
        return ("depthwise",)
    if geometry.rows * geometry.columns == 1:
        return ("gemm",)
    return (*_winograd(geometry), "direct")


def baselines(ops: Sequence[Op]) -> tuple[str, ...]:
    """The algorithms that can run a layer and are never the fastest."""
    return (vanilla.VANILLA,) if any(map(vanilla.has_loops, ops)) else ()


def _winograd(geometry: Geometry) -> list[str]:
    """Winograd's convolutions, likely fastest first.

    Those by size of tile that fit: large tiles for large images, small for small.
    """
    side = min(geometry.y[1:])
    fits = {4: side >= 4, 6: side >= LARGE, 2: 2 <= side < LARGE}
    found = [m for m, good in fits.items() if good and m in geometry.winograd]
    pairs = geometry.x[0] * geometry.y[0]
    found.sort(key=lambda m: winograd_time(m, geometry.rows, *geometry.y[1:], pairs))
    return [f"winograd-{m}" for m in found]


def lower(
    builder: Builder,
    ops: Sequence[Op],
    kept: Sequence[str],
    algorithm: str,
    precision: Precision = Precision.FP32,
) -> None:
    """Adds the steps of a layer.

    Args:
        builder: The segment's builder, which has a form of each value that the layer reads.
        ops: The layer's operators.
        kept: The names of the values that are read outside the layer.
        algorithm: The algorithm of its convolutions and products; `vanilla.VANILLA` is one of pools
            too.
        precision: The precision of its convolution or product.

    Raises:
        UnsupportedError: An operator has no kernel.
    """

    def add(builder: Builder, fused: Fused) -> None:
        op = fused.op
        if algorithm == vanilla.VANILLA and vanilla.has_loops(op):
            vanilla.loops(builder, fused)
        elif precision is not Precision.FP32 and op.kind == "Conv":
            narrow.convolution(builder, fused, precision)
        elif precision is not Precision.FP32 and op.kind in ("Gemm", "MatMul"):
            narrow.product(builder, fused, precision)
        elif op.kind == "Conv":
            convolution.convolution(builder, fused, algorithm)
        elif op.kind in _LOWERINGS:
            _LOWERINGS[op.kind](builder, fused)
        elif function_of(op) is not None:
            elementwise.unary(builder, fused)
        else:
            raise UnsupportedError(f"{op.kind} has no kernel")

    for fused in fuse(ops, kept):
        if batch.has_batch(fused.op):
            batch.each(builder, fused, add)
        else:
            add(builder, fused)


def inputs_of(ops: Sequence[Op]) -> list[ir.Value]:
    """The values that operators read and do not make."""
    made = {value.name for op in ops for value in op.outputs}
    read = {value.name: value for op in ops for value in op.inputs if not is_constant(value)}
    return [value for name, value in read.items() if name not in made]
