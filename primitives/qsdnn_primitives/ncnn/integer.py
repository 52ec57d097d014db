"""Operators in integers, for which ncnn has ``int8_scale_term``.

ncnn rounds the input to int8 before such an operator, multiplies and accumulates in integers, and
scales the result back to fp32: between operators, tensors stay fp32. Everything is symmetric: there
is one scale for the input, and one for each output channel (or group) of the weights. Weights are
given in fp32, so that plans in fp32 share them, and rounded when the network is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Layer
from qsdnn_primitives.ncnn.operator import Array, Operator, Weight

SCALE_PARAM = 8
_LARGEST = np.float32(127)

# By kind: the value of `SCALE_PARAM`, and the parameter with the number of the weights' scales.
_KINDS = {"Convolution": (2, 0), "ConvolutionDepthWise": (1, 7), "InnerProduct": (2, 0)}


def has_integers(operators: Sequence[Operator]) -> bool:
    """Whether a layer has an operator that can compute in integers."""
    return any(operator.kind in _KINDS for operator in operators)


def in_integers(
    operators: Sequence[Operator], layer: Layer, calibration: Calibration | None
) -> tuple[Operator, ...]:
    """The operators of a layer, in integers where they can be.

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
