"""Operators of a layer, with activations and sums inside those that can compute them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from qsdnn_primitives.lne.activation import IDENTITY, Function, function_of
from qsdnn_primitives.lne.composition import is_bias
from qsdnn_primitives.lne.gelu import with_gelu
from qsdnn_primitives.plain.node import Op, is_constant, static_shape

_HOSTS = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "AveragePool"),
    *("BatchNormalization", "Resize"),
    *("Add", "Sub", "Mul", "Div", "Max", "Min"),
}
_SUMS = {"Conv", "ConvTranspose"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """An operator and what it computes besides.

    Attributes:
        op: The operator.
        output: What comes out in the end.
        added: The value that is added before the activation; None where nothing is.
        function: The activation.
    """

    op: Op
    output: ir.Value
    added: ir.Value | None = None
    function: Function = IDENTITY


def fuse(ops: Sequence[Op], kept: Collection[str]) -> list[Fused]:
    """The operators of a layer, fused.

    Args:
        ops: The operators, in topological order.
        kept: The names of the values that are read outside the layer.
    """
    found: list[Fused] = []
    gated = _gates(with_gelu(ops, kept), kept)
    for op in gated:
        before = found[-1] if found else None
        if before is not None and _is_only_reader(before, op, gated, kept):
            function = function_of(op)
            fresh = before.function == IDENTITY
            if function is not None and fresh and before.op.kind in _HOSTS:
                found[-1] = replace(before, function=function, output=op.outputs[0])
                continue
            if fresh and _adds_to_columns(before, op):
                whole = replace(before.op, inputs=(*before.op.inputs, _constant_of(op)))
                found[-1] = replace(before, op=whole, output=op.outputs[0])
                continue
            other = _summand(before, op)
            if fresh and before.added is None and other is not None:
                found[-1] = replace(before, added=other, output=op.outputs[0])
                continue
        found.append(Fused(op=op, output=op.outputs[0]))
    return found


def _is_only_reader(before: Fused, op: Op, ops: Sequence[Op], kept: Collection[str]) -> bool:
    name = before.output.name
    readers = [other for other in ops if any(value.name == name for value in other.inputs)]
    return name not in kept and readers == [op]


def _summand(before: Fused, op: Op) -> ir.Value | None:
    """The other operand of a sum of two images of one shape."""
    if op.kind not in ("Add", "Sum") or len(op.inputs) != 2 or before.op.kind not in _SUMS:
        return None
    others = [value for value in op.inputs if value.name != before.output.name]
    if len(others) != 1 or is_constant(others[0]):
        return None
    same = static_shape(others[0]) == static_shape(op.outputs[0]) == static_shape(before.output)
    return others[0] if same else None


def _adds_to_columns(before: Fused, op: Op) -> bool:
    """Whether a sum adds a constant number to each column of a product that adds none yet."""
    product = before.op
    if op.kind != "Add" or product.kind not in ("MatMul", "Gemm") or len(product.inputs) != 2:
        return False
    if before.added is not None or product.attributes.get("beta", 1.0) != 1.0:
        return False
    if not any(map(is_constant, op.inputs)) or len(static_shape(product.inputs[1])) < 2:
        return False
    shape = static_shape(op.outputs[0])
    return is_bias(_constant_of(op), shape) and static_shape(before.output) == shape


def _constant_of(op: Op) -> ir.Value:
    return next(value for value in op.inputs if is_constant(value))


def _gates(ops: list[Op], kept: Collection[str]) -> list[Op]:
    """Turns x · sigmoid(x) into SiLU, and x · hard_sigmoid(x) into HardSwish."""
    found = list(ops)
    for gate in ops:
        kind = _gated(gate)
        name = gate.outputs[0].name
        readers = [op for op in ops if any(value.name == name for value in op.inputs)]
        if kind is None or name in kept or len(readers) != 1 or readers[0].kind != "Mul":
            continue
        product = readers[0]
        if {value.name for value in product.inputs} != {name, gate.inputs[0].name}:
            continue
        found[found.index(product)] = replace(
            gate, kind=kind, inputs=(gate.inputs[0],), outputs=product.outputs
        )
        found.remove(gate)
    return found


def _gated(gate: Op) -> str | None:
    if gate.kind == "Sigmoid":
        return "Silu"
    if gate.kind == "HardSigmoid":
        alpha, beta = gate.attributes["alpha"], gate.attributes["beta"]
        if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
            return "HardSwish"
    return None
