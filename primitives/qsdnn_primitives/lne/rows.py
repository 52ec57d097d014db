"""Operators on rows: softmax, norms, reductions; and pools, which reduce windows."""

from __future__ import annotations

from math import prod

import numpy as np

from qsdnn_primitives.lne.arguments import activation_arguments, between
from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.kernel import Operation
from qsdnn_primitives.lne.program import Value
from qsdnn_primitives.lne.values import constant_of, is_image
from qsdnn_primitives.plain.node import Op, UnsupportedError, static_shape

_REDUCTIONS = {
    "ReduceMean": Operation.ADD, "ReduceSum": Operation.ADD, "ReduceMax": Operation.LARGER,
    "ReduceMin": Operation.SMALLER,
}  # fmt: skip


def softmax(builder: Builder, fused: Fused) -> None:
    """Softmax and LogSoftmax over one dimension or several that follow one another."""
    op = fused.op
    outer, n, inner = _split(static_shape(op.inputs[0]), op.attributes["axes"])
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    found: dict[str, Value] = {
        "x": x, "y": y, "logarithmic": int(op.kind == "LogSoftmax"), "outer": outer, "n": n,
        "inner": inner,
    }  # fmt: skip
    builder.add("softmax", (x,), y, lambda: found)


def is_global_pool(op: Op) -> bool:
    """Whether a reduction is the mean or the largest of each channel of one image."""
    rank = len(static_shape(op.inputs[0]))
    spatial = rank > 2 and list(op.attributes["axes"]) == list(range(2, rank))
    return (
        op.kind in ("ReduceMean", "ReduceMax") and spatial and is_image(static_shape(op.inputs[0]))
    )


def reduction(builder: Builder, fused: Fused) -> None:
    """ReduceMean and its like."""
    op, shape = fused.op, static_shape(fused.op.inputs[0])
    axes = list(op.attributes["axes"])
    if is_global_pool(op) and builder.has_image(op.inputs[0]):
        x = builder.image(op.inputs[0])
        made = builder.new_image(shape[1], 1, 1)
        builder.add("global_pool", (x,), made, lambda: {
            "x": x, "y": made, "mean": int(op.kind == "ReduceMean"), "blocks": x.blocks,
            "height": x.height, "width": x.width, "x_block": x.block, "x_row": x.row,
            **activation_arguments(fused.function),
        })  # fmt: skip
        if len(static_shape(fused.output)) >= 2:
            builder.take(fused.output, made)
            return
        raise UnsupportedError("it leaves no channels")
    outer, n, inner = _split(shape, axes)
    plain, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    found: dict[str, Value] = {
        "x": plain, "y": y, "operation": int(_REDUCTIONS[op.kind]), "outer": outer, "n": n,
        "inner": inner, "factor": 1.0 / n if op.kind == "ReduceMean" else 1.0,
    }  # fmt: skip
    builder.add("reduce", (plain,), y, lambda: found)


def _split(shape: tuple[int, ...], axes: list[int]) -> tuple[int, int, int]:
    """A shape as (before, axes, after).

    Raises:
        UnsupportedError: The axes do not follow one another.
    """
    moved = sorted(axis for axis in axes if shape[axis] > 1)
    if moved and [axis for axis in range(moved[0], moved[-1] + 1) if shape[axis] > 1] != moved:
        raise UnsupportedError("its dimensions are apart")
    first, last = (moved[0], moved[-1] + 1) if moved else (len(shape), len(shape))
    return prod(shape[:first]), prod(shape[first:last]), prod(shape[last:])


def standardization(builder: Builder, fused: Fused) -> None:
    """Layer, instance and group normalization."""
    op = fused.op
    size, rows = prod(static_shape(op.inputs[0])), int(op.attributes["rows"])
    n = size // rows
    scale = constant_of(op.inputs[1]).reshape(-1)
    shift = np.zeros_like(scale)
    if len(op.inputs) > 2:
        shift = constant_of(op.inputs[2]).reshape(-1)
    shape = static_shape(op.inputs[0])
    parameter_shape = tuple(op.attributes["parameter_shape"])
    if len(scale) == n and parameter_shape == shape[-len(parameter_shape) :]:
        step, run = 0, 1
    else:  # one number for each channel, and rows of whole channels, image after image
        per_channel = prod(shape[2:])
        if n % per_channel:
            raise UnsupportedError("its parameters do not follow its rows")
        scale, shift = np.tile(scale, shape[0]), np.tile(shift, shape[0])
        step, run = n // per_channel, per_channel
    x, y = builder.plain(op.inputs[0]), builder.plain_of(fused.output)
    found: dict[str, Value] = {
        "x": x, "scale": scale, "shift": shift, "y": y, "outer": rows, "n": n, "step": step,
        "run": run, "epsilon": float(op.attributes["epsilon"]),
    }  # fmt: skip
    builder.add("standardize", (x,), y, lambda: found)


def lrn(builder: Builder, fused: Fused) -> None:
    """LRN of an image."""
    op, attributes = fused.op, fused.op.attributes
    x, y = builder.image(op.inputs[0]), builder.image_of(fused.output)
    builder.add("lrn", (x,), y, lambda: {
        "x": x, "y": y, "channels": x.channels, "size": int(attributes["size"]),
        "blocks": x.blocks, "height": x.height, "width": x.width, "x_block": x.block,
        "x_row": x.row, "y_block": y.block, "y_row": y.row,
        "alpha": float(attributes["alpha"]), "beta": float(attributes["beta"]),
        "bias": float(attributes["bias"]),
    }, lambda: x.blocks * x.lanes + int(attributes["size"]) + x.lanes)  # fmt: skip


def pool(builder: Builder, fused: Fused) -> None:
    """MaxPool and AveragePool of an image."""
    x, arguments = builder.image(fused.op.inputs[0]), pool_arguments(fused.op)
    y = builder.image_of(fused.output)
    builder.add("pool", (x,), y, lambda: {
        **arguments, **between(x, y), **activation_arguments(fused.function),
    })  # fmt: skip


def pool_arguments(op: Op) -> dict[str, Value]:
    """The arguments of a pool that do not tell where its images lie."""
    attributes = op.attributes
    if len(attributes["kernel"]) > 2:
        raise UnsupportedError("its window has more than two dimensions")

    def pair(name: str, one: int) -> list[int]:
        return ([one] + [int(n) for n in attributes[name]])[-2:]

    (rows, columns), (high, wide) = pair("kernel", 1), pair("strides", 1)
    (dilated_high, dilated_wide), (above, left) = pair("dilations", 1), pair("begins", 0)
    below, right = pair("ends", 0) if "ends" in attributes else (0, 0)
    return {
        "mean": int(op.kind == "AveragePool"),
        "padding_counts": int(attributes.get("count_include_pad", 0)), "rows": rows,
        "columns": columns, "stride_high": high, "stride_wide": wide,
        "dilation_high": dilated_high, "dilation_wide": dilated_wide, "pad_high": above,
        "pad_wide": left, "pad_end_high": below, "pad_end_wide": right,
    }  # fmt: skip
