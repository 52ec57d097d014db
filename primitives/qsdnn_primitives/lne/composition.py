"""Operators that are made of simpler ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.lne import volumes
from qsdnn_primitives.plain.node import Op, inner_value, is_constant, static_shape

Shape = tuple[int, ...]


def composed(ops: Sequence[Op]) -> list[Op]:
    """Operators, those without a kernel as several that have one."""
    found: list[Op] = []
    for op in ops:
        made = _COMPOSITIONS[op.kind](op) if op.kind in _COMPOSITIONS else [op]
        found += made if made == [op] else composed(made)
    return found


def _of_many(op: Op) -> list[Op]:
    """Sum, Mean, Max and Min of any number of operands, two at a time."""
    kind = {"Sum": "Add", "Mean": "Add"}.get(op.kind, op.kind)
    (output,), inputs = op.outputs, op.inputs
    if len(inputs) == 1:
        return [Op(kind="Reshape", inputs=inputs, outputs=op.outputs)]
    if len(inputs) == 2 and op.kind != "Mean":
        return [op]
    found: list[Op] = []
    total = inputs[0]
    for number, value in enumerate(inputs[1:], 1):
        shape = np.broadcast_shapes(static_shape(total), static_shape(value))
        last = number == len(inputs) - 1 and op.kind != "Mean"
        made = output if last else inner_value(output, f"of {number + 1}", shape)
        found.append(Op(kind=kind, inputs=(total, value), outputs=(made,)))
        total = made
    if op.kind == "Mean":
        found.append(_scaled(total, 1 / len(inputs), output))
    return found


def _scaled(value: ir.Value, factor: float, output: ir.Value) -> Op:
    return Op(kind="Scale", inputs=(value,), outputs=(output,), attributes={"factor": factor})


def _gemm(op: Op) -> list[Op]:
    """Gemm as a product of rows with a matrix, which may add a number to each column."""
    attributes = dict(op.attributes)
    (output,), (left, right, *rest) = op.outputs, op.inputs
    made, shape = output, static_shape(output)
    before: list[Op] = []
    after: list[Op] = []
    if attributes["transA"] and not is_constant(left):
        turned = inner_value(output, "turned", static_shape(left)[::-1])
        before.append(_transposed(left, (1, 0), turned))
        left, attributes["transA"] = turned, 0
    is_scaled = attributes["alpha"] != 1 and not is_constant(right)
    if rest and (is_scaled or not is_bias(rest[0], shape)):
        added = _multiplied(rest.pop(), output, attributes["beta"])
        made = inner_value(output, "before sum", shape)
        after.append(Op(kind="Add", inputs=(made, added), outputs=(output,)))
    if is_scaled:
        product = inner_value(output, "before scale", shape)
        after.insert(0, _scaled(product, attributes["alpha"], made))
        made, attributes["alpha"] = product, 1.0
    inputs = (left, right, *rest)
    return [*before, replace(op, inputs=inputs, outputs=(made,), attributes=attributes), *after]


def _by_number(op: Op) -> list[Op]:
    """A product with one constant number, or a quotient by one, as a function of one operand."""
    left, right = op.inputs
    if op.kind == "Mul" and is_constant(left):
        left, right = right, left
    same = not is_constant(left) and static_shape(left) == static_shape(op.outputs[0])
    if not same or not is_constant(right) or prod(static_shape(right)) != 1:
        return [op]
    assert right.const_value is not None
    number = float(right.const_value.numpy().reshape(-1)[0])
    if op.kind == "Div" and number == 0:
        return [op]
    return [_scaled(left, number if op.kind == "Mul" else 1 / number, op.outputs[0])]


def is_bias(value: ir.Value, shape: Shape) -> bool:
    """Whether a summand of a product is constant, and one number for all or for each column."""
    own = static_shape(value)
    return is_constant(value) and prod(own[:-1]) == 1 and prod(own) in (1, shape[-1])


def _multiplied(value: ir.Value, output: ir.Value, factor: float) -> ir.Value:
    """A constant times a number; what is no constant comes with the number one."""
    if factor == 1 or value.const_value is None:
        return value
    made = inner_value(output, "summand", static_shape(value))
    made.const_value = ir.tensor(value.const_value.numpy() * np.float32(factor))
    return made


def _reduction(op: Op) -> list[Op]:
    """A reduction over dimensions that are apart: they are brought together first."""
    shape, axes = static_shape(op.inputs[0]), list(op.attributes["axes"])
    moved = [axis for axis in range(len(shape)) if shape[axis] > 1]
    places = [moved.index(axis) for axis in axes if axis in moved]
    if not places or places == list(range(places[0], places[0] + len(places))):
        return [op]
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    perm = (*kept, *axes)
    made = inner_value(op.outputs[0], "together", tuple(shape[axis] for axis in perm))
    together = {**op.attributes, "axes": list(range(len(kept), len(shape)))}
    return [
        _transposed(op.inputs[0], perm, made),
        replace(op, inputs=(made,), attributes=together),
    ]


def _transposed(value: ir.Value, perm: Shape, output: ir.Value) -> Op:
    attributes = {"shape": list(static_shape(value)), "perm": list(perm)}
    return Op(kind="Transpose", inputs=(value,), outputs=(output,), attributes=attributes)


_COMPOSITIONS: Mapping[str, Callable[[Op], list[Op]]] = {
    **dict.fromkeys(("Sum", "Mean", "Max", "Min"), _of_many),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduction),
    **dict.fromkeys(("MaxPool", "AveragePool"), volumes.pool),
    "Conv": volumes.convolution,
    "ConvTranspose": volumes.transposed,
    **dict.fromkeys(("Mul", "Div"), _by_number),
    "Gemm": _gemm,
}
