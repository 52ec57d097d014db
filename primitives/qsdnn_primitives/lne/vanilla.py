"""The algorithm ``vanilla``: plain loops, one output at a time, as the baseline.

So LPDNN names its naive C loops, which speeds are told against (de Prado, Pazos, Benini, arXiv
1811.07315). They work on the same images as all other kernels do; weights are in ONNX's order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

import numpy as np

from qsdnn_primitives.lne import rows
from qsdnn_primitives.lne.arguments import activation_arguments, between
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.convolution import Geometry
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.product import Matrices, pairs_of, row_bias, rows_of
from qsdnn_primitives.lne.program import Packed, Value
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.lne.values import bias_of, constant_of, image_shape
from qsdnn_primitives.plain.node import Op, is_constant, static_shape

VANILLA = "vanilla"
"""The name of the algorithm."""


def has_loops(op: Op) -> bool:
    """Whether there are plain loops for an operator."""
    if op.kind in ("Gemm", "MatMul"):
        return is_constant(op.inputs[1])
    return op.kind in _LOWERINGS and (not op.kind.startswith("Reduce") or rows.is_global_pool(op))


def loops(builder: Builder, fused: Fused) -> None:
    """Adds the steps of an operator that there are plain loops for."""
    _LOWERINGS[fused.op.kind](builder, fused)


def _convolution(builder: Builder, fused: Fused) -> None:
    op, lanes = fused.op, builder.lanes
    geometry = Geometry(op)
    x = builder.padded(builder.image(op.inputs[0]), geometry.reach)
    added = None if fused.added is None else builder.image(fused.added)
    y = builder.image_of(fused.output)
    weights = Packed(
        key=(op.inputs[1].name, VANILLA),
        size=prod(static_shape(op.inputs[1])),
        make=lambda: [constant_of(op.inputs[1])],
    )
    bias = bias_of(op, y.channels)

    def arguments() -> dict[str, Value]:
        found: dict[str, Value] = {
            "x": (x, -geometry.above * x.row - geometry.left * lanes), "b": bias, "y": y,
            "w": weights,
            "groups": geometry.groups, "inputs": x.channels // geometry.groups,
            "outputs": y.channels, "rows": geometry.rows, "columns": geometry.columns,
            "height": y.height, "width": y.width, "x_block": x.block,
            "x_row": geometry.high * x.row, "x_pixel": geometry.wide * lanes,
            "tap_row": geometry.dilated_high * x.row,
            "tap_column": geometry.dilated_wide * lanes, "y_block": y.block, "y_row": y.row,
            "y_pixel": lanes, **activation_arguments(fused.function),
        }  # fmt: skip
        if added is not None:
            found |= {"r": added, "r_block": added.block, "r_row": added.row}
        return found

    builder.add("vanilla", (x, added), y, arguments)


def _product(builder: Builder, fused: Fused) -> None:
    left, right, count, pairs = pairs_of(fused.op)
    k, n, lanes = right.rows, right.columns, builder.lanes
    x, y, bias = rows_of(builder, left), builder.plain_of(fused.output), row_bias(fused.op, n)
    reads = (x,) if isinstance(x, Tensor) else ()
    for number, (first, second) in enumerate(pairs):
        found: dict[str, Value] = {
            "x": (x, first * count * k), "w": _columns(fused.op, right, second), "b": bias,
            "y": (y, number * count * n), "groups": 1, "inputs": k, "outputs": n, "rows": 1,
            "columns": 1, "height": 1, "width": count, "x_block": lanes, "x_pixel": k,
            "y_block": lanes, "y_pixel": n, **activation_arguments(fused.function),
        }  # fmt: skip
        builder.add("vanilla", reads, y, partial(dict, found))


def _columns(op: Op, right: Matrices, number: int) -> Packed:
    """A matrix, column after column, as the weights of a convolution lie."""
    alpha = float(op.attributes.get("alpha", 1.0))
    return Packed(
        key=(right.value.name, VANILLA, right.turned, alpha, number),
        size=right.rows * right.columns,
        make=lambda: [right.arrays()[number].T * np.float32(alpha)],
    )


def _pool(builder: Builder, fused: Fused) -> None:
    x, y = builder.image(fused.op.inputs[0]), builder.image_of(fused.output)
    arguments = rows.pool_arguments(fused.op)
    builder.add("vanilla_pool", (x,), y, lambda: {
        **arguments, **between(x, y), "channels": x.channels,
        **activation_arguments(fused.function),
    })  # fmt: skip


def _global_pool(builder: Builder, fused: Fused) -> None:
    """A pool whose window is the image."""
    x = builder.image(fused.op.inputs[0])
    y = builder.new_image(image_shape(fused.op.inputs[0])[0], 1, 1)
    builder.take(fused.output, y)
    mean = int(fused.op.kind == "ReduceMean")
    builder.add("vanilla_pool", (x,), y, lambda: {
        "mean": mean, "rows": x.height, "columns": x.width, "dilation_high": 1,
        "dilation_wide": 1, **between(x, y), "channels": x.channels,
        **activation_arguments(fused.function),
    })  # fmt: skip


_LOWERINGS: Mapping[str, Callable[[Builder, Fused], None]] = {
    "Conv": _convolution,
    **dict.fromkeys(("Gemm", "MatMul"), _product),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), _global_pool),
}
