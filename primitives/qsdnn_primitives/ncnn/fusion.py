"""Activations that ncnn computes inside another operator, and those that are written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from qsdnn_primitives.ncnn.operator import Operator, Param, resolve

HOSTS = frozenset(
    {
        "Convolution",
        "ConvolutionDepthWise",
        "Deconvolution",
        "DeconvolutionDepthWise",
        "InnerProduct",
    }
)

_MULTIPLY = {0: 2}


def fuse(
    operators: Sequence[Operator], aliases: Mapping[str, str], outputs: Iterable[str]
) -> list[Operator]:
    """Operators of a layer, with activations inside convolutions and products.

    Args:
        operators: In topological order.
        aliases: Names that are another blob.
        outputs: What is read outside the layer.
    """
    kept = {resolve(name, aliases) for name in outputs}
    found = [
        dataclasses.replace(
            operator, inputs=tuple(resolve(name, aliases) for name in operator.inputs)
        )
        for operator in operators
    ]
    found = _gates(found, kept)
    return _inside(found, kept)


def _readers(operators: Sequence[Operator], name: str) -> list[Operator]:
    return [operator for operator in operators if name in operator.inputs]


def _gates(operators: list[Operator], kept: set[str]) -> list[Operator]:
    """Makes x · sigmoid(x) a Swish, x · hard_sigmoid(x) a HardSwish."""
    names = {"Sigmoid": "Swish", "HardSigmoid": "HardSwish"}
    found = list(operators)
    for gate in operators:
        if gate.kind not in names or gate.outputs[0] in kept:
            continue
        readers = _readers(found, gate.outputs[0])
        if len(readers) != 1 or not _multiplies(readers[0], gate):
            continue
        fused = dataclasses.replace(gate, kind=names[gate.kind], outputs=readers[0].outputs)
        found[found.index(readers[0])] = fused
        found.remove(gate)
    return found


def _multiplies(operator: Operator, gate: Operator) -> bool:
    pair = {gate.inputs[0], gate.outputs[0]}
    return (
        operator.kind == "BinaryOp" and operator.params == _MULTIPLY and {*operator.inputs} == pair
    )


def _inside(operators: list[Operator], kept: set[str]) -> list[Operator]:
    """Convolutions and products with the activation that alone reads them."""
    found = list(operators)
    for host in operators:
        if host.kind not in HOSTS or host.outputs[0] in kept:
            continue
        readers = _readers(found, host.outputs[0])
        params = _activation(readers[0]) if len(readers) == 1 else None
        if params is not None:
            fused = dataclasses.replace(
                host, outputs=readers[0].outputs, params={**host.params, **params}
            )
            found[found.index(host)] = fused
            found.remove(readers[0])
    return found


def _activation(operator: Operator) -> dict[int, Param] | None:
    """The parameters 9 and 10 of a host: which activation, and its numbers."""
    params = operator.params
    match operator.kind:
        case "ReLU" if not params.get(0):
            return {9: 1}
        case "ReLU":
            return {9: 2, 10: _floats(params[0])}
        case "Clip" if len(params) == 2:
            return {9: 3, 10: _floats(params[0], params[1])}
        case "Sigmoid":
            return {9: 4}
        case "Mish":
            return {9: 5}
        case "HardSwish":
            return {9: 6, 10: _floats(params[0], params[1])}
    return None


def _floats(*values: Param) -> tuple[float, ...]:
    return tuple(float(value) for value in values if not isinstance(value, tuple))
