"""GELU, where a network has it as the operators that it is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from qsdnn_primitives.lne import gelu
from qsdnn_primitives.plain.node import Op, is_constant, scalar_of, static_shape


def with_gelu(ops: Sequence[Op], kept: Collection[str]) -> Sequence[Op]:
    """Operators with each x/2 · (1 + erf(x/√2)) as one; TensorFlow Lite has no erf by itself.

    Args:
        ops: The operators of a layer, in topological order.
        kept: The names of the values that are read outside the layer.
    """
    if not any(op.kind == "Erf" for op in ops):
        return ops
    scaled = [_scaled(op) for op in ops]
    originals = {id(new): old for new, old in zip(scaled, ops, strict=True)}
    return [originals.get(id(op), op) for op in gelu.with_gelu(scaled, kept)]


def _scaled(op: Op) -> Op:
    """A product with a constant number, or a quotient, as a Scale; any other operator as it is."""
    if op.kind not in ("Div", "Mul"):
        return op
    data, other = op.inputs
    if op.kind == "Mul" and is_constant(data):
        data, other = other, data
    if not is_constant(other) or static_shape(data) != static_shape(op.outputs[0]):
        return op
    tensor = other.const_value
    if tensor is None or tensor.size != 1:
        return op
    number = scalar_of(tensor.numpy())
    if not number:
        return op
    factor = number if op.kind == "Mul" else 1 / number
    return replace(op, kind="Scale", inputs=(data,), attributes={"factor": factor})
