"""The pass that puts layers into integers: products, and the sums behind them.

An operator in integers reads int8 activations of a scale and a zero point of their own, and int8
weights with a scale for each output channel; it gives int8 (Jacob et al., arXiv 1712.05877). Around
it are QUANTIZE and DEQUANTIZE, of which those that cancel are left out: between two operators in
integers, with nothing but moves of elements between them, a tensor stays int8.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn_primitives.litert.program import Constant, Operator, Quantization, Tensor
from qsdnn_primitives.quantization.scale import Scale, quantize_weight

PRODUCTS: Mapping[str, int] = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""The kinds of products, with the axis of the output channels in their weights."""

MOVES = frozenset({"MAX_POOL_2D", "PAD", "RESHAPE", "TRANSPOSE"})
"""The kinds of operators that give what they read, or zeros: with the same scale."""

_MIDDLE = 128  # from uint8 to int8


def candidates(
    operators: Sequence[Operator], names: Mapping[Tensor, str], layers: Collection[int]
) -> set[int]:
    """The operators, by position, that can compute in integers.

    Args:
        operators: The operators, activations fused.
        names: The ONNX values that tensors are.
        layers: The layers that are to be in integers; those without a product stay as they are.
    """
    sources = _sources(operators, names)
    fit = {
        position
        for position, operator in enumerate(operators)
        if operator.layer in layers
        and operator.outputs[0] in sources
        and all(tensor in sources for tensor in _activations(operator))
        and (_is_product(operator) or _is_sum(operator))
    }
    producing = {operators[position].layer for position in fit if _is_product(operators[position])}
    return {position for position in fit if operators[position].layer in producing}


def in_integers(
    operators: Sequence[Operator],
    names: Mapping[Tensor, str],
    layers: Collection[int],
    calibration: Calibration | None,
    kept: Collection[Tensor],
) -> list[Operator]:
    """The operators, with those of some layers in integers where they can be.

    Args:
        operators: The operators, activations fused.
        names: The ONNX values that tensors are.
        layers: The layers that are to be in integers.
        calibration: The ranges of ONNX values.
        kept: The tensors that are read from outside, which stay in floating point.

    Raises:
        BuildError: There is no calibration, or it lacks a range.
    """
    if not layers:
        return list(operators)
    if calibration is None:
        raise BuildError("int8 needs a calibration", hint="give --calibration DIR|FILE.npz")
    chosen = candidates(operators, names, layers)
    sources = _sources(operators, names)
    scales: dict[str, Scale] = {}
    rounded: dict[Tensor, Tensor] = {}
    found: list[Operator] = []

    def integer(tensor: Tensor) -> Tensor:
        """The tensor of integers that stands for a tensor."""
        if tensor not in rounded:
            name = sources[tensor]
            if name not in scales:
                scales[name] = Scale.of_range(*calibration.range(name))
            scale = scales[name]
            meaning = Quantization(
                np.atleast_1d(np.asarray(scale.scale, np.float32)), scale.zero_point - _MIDDLE
            )
            rounded[tensor] = dataclasses.replace(tensor, dtype="int8", quantization=meaning)
        return rounded[tensor]

    made: set[Tensor] = set()  # those that exist in integers
    computed: set[Tensor] = set()  # those of them that never were anything else
    for position, operator in enumerate(operators):
        moved = operator.kind in MOVES and operator.inputs[0] in computed
        if position not in chosen and not moved:
            found.append(operator)
            continue
        for tensor in _activations(operator):
            if tensor not in made:
                made.add(tensor)
                found.append(_plain("QUANTIZE", tensor, integer(tensor), operator.layer))
        (output,) = operator.outputs
        made.add(output)
        computed.add(output)
        inputs: list[Tensor | None] = [
            integer(t) if t in made else t for t in operator.inputs if t is not None
        ]
        if position in chosen and _is_product(operator):
            inputs = _product(operator, integer(_activations(operator)[0]))
        found.append(
            dataclasses.replace(operator, inputs=tuple(inputs), outputs=(integer(output),))
        )
        found.append(_plain("DEQUANTIZE", integer(output), output, operator.layer))
    return _read(found, kept)


def _product(operator: Operator, data: Tensor) -> list[Tensor | None]:
    """The inputs of a product: the data, integer weights, and the bias in steps of both scales."""
    weights, bias = operator.inputs[1], operator.inputs[2]
    assert data.quantization is not None and weights is not None and weights.data is not None
    axis, step = PRODUCTS[operator.kind], data.quantization.scales[0]
    values = weights.data.array().reshape(weights.shape)
    added = None if bias is None or bias.data is None else bias.data.array().reshape(-1)
    integers, scales = quantize_weight(values, axis, step, added)
    rounded = Tensor(weights.shape, "int8", Constant(integers), Quantization(scales, 0, axis))
    if bias is None or added is None:
        return [data, rounded, None]
    steps = (scales * step).astype(np.float32)
    sums = np.rint(added.astype(np.float64) / steps).astype(np.int32)
    return [data, rounded, Tensor(bias.shape, "int32", Constant(sums), Quantization(steps))]


def _plain(kind: str, source: Tensor, target: Tensor, layer: int) -> Operator:
    return Operator(kind, (source,), (target,), {}, layer)


def _read(operators: Sequence[Operator], kept: Collection[Tensor]) -> list[Operator]:
    """The operators without those whose outputs nothing reads."""
    wanted = set(kept)
    found = []
    for operator in reversed(operators):
        if any(tensor in wanted for tensor in operator.outputs):
            found.append(operator)
            wanted.update(tensor for tensor in operator.inputs if tensor is not None)
    return found[::-1]


def _activations(operator: Operator) -> list[Tensor]:
    return [tensor for tensor in operator.inputs if tensor is not None and tensor.data is None]


def _is_product(operator: Operator) -> bool:
    return operator.kind in PRODUCTS and len(_activations(operator)) == 1


def _is_sum(operator: Operator) -> bool:
    return operator.kind == "ADD" and len(_activations(operator)) == 2


def _sources(operators: Sequence[Operator], names: Mapping[Tensor, str]) -> dict[Tensor, str]:
    """The ONNX value whose range each tensor has: across moves it is the one that is moved."""
    sources = dict(names)
    for operator in operators:
        first = operator.inputs[0]
        if operator.kind in MOVES and first in sources:
            sources[operator.outputs[0]] = sources[first]
    return sources
