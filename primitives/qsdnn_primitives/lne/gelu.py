"""GELU, where a network has it as the operators that it is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isclose, sqrt

import onnx_ir as ir

from qsdnn_primitives.plain.node import Op, is_constant


def with_gelu(ops: Sequence[Op], kept: Collection[str]) -> list[Op]:
    """Operators with each x/2 · (1 + erf(x/√2)) as one, in whatever order its factors come.

    Args:
        ops: The operators of a layer, in topological order.
        kept: The names of the values that are read outside the layer.
    """
    found = list(ops)
    for erf in [op for op in ops if op.kind == "Erf"]:
        parts = _parts(found, erf)
        if parts is None:
            continue
        (source, output), inner = parts
        names = {op.outputs[0].name for op in inner} - {output.name}
        others = [op for op in found if op not in inner]
        if names & {*kept, *(value.name for op in others for value in op.inputs)}:
            continue
        at = found.index(inner[-1])
        found[at] = Op(kind="Gelu", inputs=(source,), outputs=(output,))
        found = [op for op in found if op not in inner[:-1]]
    return found


def _parts(ops: Sequence[Op], erf: Op) -> tuple[tuple[ir.Value, ir.Value], list[Op]] | None:
    """The operand and the result of a GELU, and its operators, the last one last."""
    scaled = _maker(ops, erf.inputs[0])
    if scaled is None or not _scales(scaled, sqrt(0.5)):
        return None
    source, plus = scaled.inputs[0], _reader(ops, erf)
    times = None if plus is None else _reader(ops, plus)
    if plus is None or times is None or not _adds_one(plus) or times.kind != "Mul":
        return None
    other = next((v for v in times.inputs if v.name != plus.outputs[0].name), None)
    if other is None:
        return None
    halved, last = _maker(ops, other), _reader(ops, times)
    if halved is not None and _scales(halved, 0.5) and halved.inputs[0].name == source.name:
        return (source, times.outputs[0]), [scaled, erf, plus, halved, times]
    if other.name == source.name and last is not None and _scales(last, 0.5):
        return (source, last.outputs[0]), [scaled, erf, plus, times, last]
    return None


def _maker(ops: Sequence[Op], value: ir.Value) -> Op | None:
    return next((op for op in ops if op.outputs[0].name == value.name), None)


def _reader(ops: Sequence[Op], op: Op) -> Op | None:
    """The one reader of what an operator makes; None where there is none, or several."""
    name = op.outputs[0].name
    readers = [other for other in ops if any(value.name == name for value in other.inputs)]
    return readers[0] if len(readers) == 1 else None


def _scales(op: Op, factor: float) -> bool:
    return op.kind == "Scale" and isclose(op.attributes["factor"], factor, rel_tol=1e-5)


def _adds_one(op: Op) -> bool:
    return op.kind == "Add" and any(map(_is_one, op.inputs))


def _is_one(value: ir.Value) -> bool:
    known = value.const_value if is_constant(value) else None
    return known is not None and bool((known.numpy() == 1).all())
