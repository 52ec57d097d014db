"""Batches: what computes on images does so on one after another, as kernels know one alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import onnx_ir as ir

from qsdnn_primitives.lne.builder import Builder
from qsdnn_primitives.lne.fusion import Fused
from qsdnn_primitives.lne.tensor import Tensor
from qsdnn_primitives.plain.node import Op, UnsupportedError, inner_value, static_shape

_MOST = 32

_KINDS = frozenset(
    {
        *("Conv", "ConvTranspose", "MaxPool", "AveragePool"),
        *("BatchNormalization", "LRN", "Resize"),
    }
)


def has_batch(op: Op) -> bool:
    """Whether an operator computes on several images."""
    return op.kind in _KINDS and static_shape(op.inputs[0])[0] > 1


def of_one(op: Op, number: int = 0) -> Op:
    """An operator for one image of the batch."""
    return replace(
        op,
        inputs=(_image(op.inputs[0], number), *op.inputs[1:]),
        outputs=(_image(op.outputs[0], number),),
    )


def each(builder: Builder, fused: Fused, lower: Callable[[Builder, Fused], None]) -> None:
    """Adds the steps of an operator for each image of a batch."""
    count = static_shape(fused.output)[0]
    if count > _MOST:
        raise UnsupportedError(f"it is a batch of {count}")
    y, size = builder.plain_of(fused.output), prod(static_shape(fused.output)[1:])
    for number in range(count):
        values = [fused.op.inputs[0], *([] if fused.added is None else [fused.added])]
        parts = [_part(builder, value, number) for value in values]
        output = _image(fused.output, number)
        one = replace(
            fused, op=of_one(fused.op, number), output=output,
            added=None if fused.added is None else parts[1],
        )  # fmt: skip
        lower(builder, one)
        builder.unpack(builder.image(output), Tensor(size=size, parent=y, start=number * size))


def _part(builder: Builder, value: ir.Value, number: int) -> ir.Value:
    """One image of a value, a part of its memory; an image that was made in blocks stays so."""
    image, size = _image(value, number), prod(static_shape(value)[1:])
    whole = builder.plain(value)
    builder.take(image, Tensor(size=size, parent=whole, start=number * size))
    return image


def _image(value: ir.Value, number: int) -> ir.Value:
    return inner_value(value, f"image {number}", (1, *static_shape(value)[1:]))
