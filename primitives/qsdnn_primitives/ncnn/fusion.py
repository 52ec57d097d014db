"""Fuses activations into the operators of ncnn that can compute them inside."""

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
    """The operators of a layer, with activations inside convolutions and products.

    Args:
        operators: The operators, in topological order.
        aliases: The blob that each alias stands for, by name.
        outputs: The names of the blobs that are read outside the layer.
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
    """Turns x · sigmoid(x) into a Swish, and x · hard_sigmoid(x) into a HardSwish."""
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
    """Fuses into convolutions and products the activation that is their only reader."""
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
    """The parameters 9 and 10 of a host: the number of the activation, and its parameters."""
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
