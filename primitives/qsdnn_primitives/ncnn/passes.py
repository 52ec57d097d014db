"""Passes over the operators of ncnn: activations fused, integers put in, algorithms chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Layer
from qsdnn_primitives.ncnn.operator import Array, Operator, Param, Weight, resolve

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

AUTO = "auto"
MASK_PARAM = 31

_NO_SGEMM, _NO_WINOGRAD = 32, 64

MASKS: Mapping[str, int] = {
    AUTO: 0,
    "winograd": 0,
    "sgemm": _NO_WINOGRAD,
    "direct": _NO_WINOGRAD | _NO_SGEMM,
}

# The numbers of channels on either side of a convolution above which ncnn prefers the algorithm to
# `direct`.
# Found by comparing outputs bit by bit (tests/unit/primitives/test_ncnn.py), ncnn 1.0.20261020.
_WINOGRAD_CHANNELS = 8
_SGEMM_CHANNELS = 16

SCALE_PARAM = 8
_LARGEST = np.float32(127)

# By kind: the value of `SCALE_PARAM`, and the parameter with the number of the weights' scales.
_KINDS = {"Convolution": (2, 0), "ConvolutionDepthWise": (1, 7), "InnerProduct": (2, 0)}


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


def has_integers(operators: Sequence[Operator]) -> bool:
    """Whether a layer has an operator that can compute in integers."""
    return any(operator.kind in _KINDS for operator in operators)


def in_integers(
    operators: Sequence[Operator], layer: Layer, calibration: Calibration | None
) -> tuple[Operator, ...]:
    """The operators of a layer, in integers where they can be: ncnn has ``int8_scale_term`` for it.

    ncnn rounds the input to int8 before such an operator, multiplies and accumulates in integers,
    and scales the result back to fp32: between operators, tensors stay fp32. Everything is
    symmetric: there is one scale for the input, and one for each output channel (or group) of the
    weights. Weights are given in fp32, so that plans in fp32 share them, and rounded when the
    network is loaded.

    Raises:
        BuildError: There is no calibration, or it lacks the range of an input.
    """
    if calibration is None:
        raise BuildError("int8 needs a calibration", hint="give --calibration DIR|FILE.npz")
    return tuple(
        _in_integers(operator, _largest(operator, layer, calibration))
        if operator.kind in _KINDS
        else operator
        for operator in operators
    )


def _largest(operator: Operator, layer: Layer, calibration: Calibration) -> float:
    """The largest magnitude that an operator reads: that of the input of its ONNX node."""
    position = int(operator.name.split(":")[1].split("/")[0])
    source = layer.nodes[position].inputs[0]
    assert source is not None
    return max(abs(bound) for bound in calibration.range(str(source.name)))


def _in_integers(operator: Operator, largest: float) -> Operator:
    term, count_param = _KINDS[operator.kind]
    count = operator.params[count_param]
    assert isinstance(count, int)
    weight = operator.weights[0]

    def weight_scales(array: Array) -> Array:
        final = array if weight.convert is None else weight.convert(array)
        return _scales(np.abs(final.reshape(count, -1)).max(axis=1))

    def input_scale(_: Array) -> Array:
        return _scales(np.array([largest], np.float32))

    scales = (
        Weight(value=weight.value, convert=weight_scales),
        Weight(value=weight.value, convert=input_scale),
    )
    return dataclasses.replace(
        operator,
        params={**operator.params, SCALE_PARAM: term},
        weights=(*operator.weights, *scales),
    )


def _scales(largest: Array) -> Array:
    """Scales, as integer steps per unit: 127 steps for the largest magnitude."""
    return np.where(largest > 0, _LARGEST / np.where(largest > 0, largest, 1), 1).astype(np.float32)


def algorithms(operators: Sequence[Operator]) -> tuple[str, ...]:
    """The algorithms that a layer may take, ncnn's choice first; ``auto`` where there is no choice.

    ncnn takes the first that fits of Winograd, sgemm (im2col and a product, tiled) and direct.
    Parameter 31 of an operator, its feature mask, takes algorithms away
    (https://github.com/Tencent/ncnn/wiki/layer-feat-mask). So an algorithm is asked for by taking
    away those that ncnn prefers.

    Only a convolution of one group has a choice: 1×1 convolutions are all the same product, and
    depthwise and grouped convolutions have one kernel each.
    """
    found = [operator for operator in operators if operator.kind == "Convolution"]
    if len(found) != 1:
        return (AUTO,)
    params = found[0].params
    kernel, strides, dilations = ((params[x], params[y]) for x, y in ((1, 11), (3, 13), (2, 12)))
    if kernel == (1, 1):
        return (AUTO,)
    outputs, count = params[0], params[6]
    assert isinstance(outputs, int) and isinstance(count, int)
    assert isinstance(kernel[0], int) and isinstance(kernel[1], int)
    channels = max(outputs, count // (outputs * kernel[0] * kernel[1]))
    square = kernel == (3, 3) and strides == dilations == (1, 1)
    names = ["winograd"] * (square and channels > _WINOGRAD_CHANNELS)
    names += ["sgemm"] * (channels > _SGEMM_CHANNELS)
    return (*names, "direct") if names else (AUTO,)
