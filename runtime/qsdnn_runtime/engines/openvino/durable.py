"""Operators put in the place of those that the plugin would not compute as their layer asks.

Its passes lose what was asked for: some make other operators and do not copy the hint ``precise``,
one moves the strides of 1x1 convolutions to where integers do not follow, and integers run on
through whatever can take them.
"""

from __future__ import annotations

from typing import Any, Mapping, Tuple

import numpy as np

from .kernel import BARRIER
from .library import opset
from .request import Request

_ROUNDINGS = ("floor", "ceil")
_PRODUCTS = ("Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData")
# The host may have put an Identity between what joins and the integers behind it; it vanishes.
_JOINS = ("Concat", "Identity")
_LOWEST = np.finfo(np.float32).min


def make_durable(model: Any, owners: Mapping[str, int], requests: Mapping[int, Request]) -> None:
    """Replaces operators.

    Args:
        model: `openvino.Model`, changed in place.
        owners: Layers by the friendly names of their operators; what replaces one takes its name.
        requests: By layer.
    """
    reduced = {request.precision for request in requests.values()} & {"bf16", "fp16"}
    for op in model.get_ordered_ops():
        asked = requests.get(owners.get(op.get_friendly_name(), -1))
        if asked is None:
            continue
        if asked.precision == "int8":
            _keep_integers(op)
        else:
            _keep_from_integers(op, owners, requests)
        if asked.precision == "fp32" and reduced:
            _keep_precise(op)


def _keep_integers(op: Any) -> None:
    """Takes the strides out of a 1x1 convolution, into a pool of one pixel behind the integers.

    Else the plugin makes that pool itself, before they are made, and the convolution, which then
    reads no integers, is one in floating point.
    """
    if op.get_type_name() != "Convolution":
        return
    attributes, kernel = op.get_attributes(), list(op.get_input_shape(1)[2:])
    strides, pads = attributes["strides"], (attributes["pads_begin"], attributes["pads_end"])
    if set(kernel) != {1} or set(strides) == {1} or any(map(any, pads)):
        return
    functions, ones, zeros = opset(), [1] * len(kernel), [0] * len(kernel)
    source, weights = (port.get_source_output() for port in op.inputs())
    picked = opset(1).max_pool(source, strides, zeros, zeros, ones)
    picked.set_friendly_name(op.get_friendly_name() + "/strides")
    made = functions.convolution(picked.output(0), weights, ones, zeros, zeros, ones)
    _replace(op, made)


def _keep_from_integers(
    op: Any, owners: Mapping[str, int], requests: Mapping[int, Request]
) -> None:
    """Puts what integers do not go through between an operator and those that are in integers.

    They would run on behind their layers, and, through what joins tensors, before them.
    """
    layer = owners[op.get_friendly_name()]
    for port in op.inputs():
        name = port.get_source_output().get_node().get_friendly_name()
        maker = requests.get(owners.get(name, layer))
        if maker and maker.precision == "int8" and op.get_type_name() not in _PRODUCTS:
            _bar(port, op)
    if op.get_type_name() in _JOINS:
        for target in op.output(0).get_target_inputs():
            if target.get_node().get_type_name() == "FakeQuantize":
                _bar(target, op)


def _bar(port: Any, op: Any) -> None:
    """The largest of a value and the least there is: it becomes part of the conversion."""
    source = port.get_source_output()
    if source.get_node().get_type_name() == "Constant":
        return
    barrier = opset().maximum(source, opset().constant(_LOWEST))
    barrier.set_friendly_name("%s/%d%s" % (op.get_friendly_name(), port.get_index(), BARRIER))
    port.replace_source_output(barrier.output(0))


def _keep_precise(op: Any) -> None:
    """A MaxPool of the first version; a convolution over one pixel for a product.

    The plugin makes the former of other MaxPools, and a FullyConnected of a product.
    """
    made = None
    if op.get_type_name() == "MaxPool":
        made = _max_pool(op)
    elif op.get_type_name() == "MatMul":
        made = _convolution(op)
    if made is not None:
        _replace(op, made)


def _replace(op: Any, made: Any) -> None:
    name = op.get_friendly_name()
    op.set_friendly_name(name + "/replaced")
    made.set_friendly_name(name)
    for target in op.output(0).get_target_inputs():
        target.replace_source_output(made.output(0))


def _max_pool(op: Any) -> Any:
    """None where the first version does not have what it does."""
    attributes = op.get_attributes()
    plain = set(attributes.get("dilations", [1])) == {1}
    rounding = attributes.get("rounding_type", "floor")
    read = any(output.get_target_inputs() for output in op.outputs()[1:])
    if not plain or rounding not in _ROUNDINGS or read:
        return None
    source, kernel = op.input(0).get_source_output(), attributes["kernel"]
    pads = (attributes["pads_begin"], attributes["pads_end"])
    auto_pad = attributes.get("auto_pad", "explicit")
    return opset(1).max_pool(source, attributes["strides"], *pads, kernel, rounding, auto_pad)


def _convolution(op: Any) -> Any:
    """None where the second factor is no constant matrix."""
    factor, attributes = op.input(1).get_source_output().get_node(), op.get_attributes()
    if factor.get_type_name() != "Constant" or len(factor.get_output_shape(0)) != 2:
        return None
    if attributes["transpose_a"]:
        return None
    functions, data = opset(), factor.get_data()
    matrix = data if attributes["transpose_b"] else data.T
    pixels = _reshaped(op.input(0).get_source_output(), (-1, matrix.shape[1], 1, 1))
    kernel = functions.constant(np.ascontiguousarray(matrix)[:, :, None, None])
    made = functions.convolution(pixels, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    made.set_friendly_name(op.get_friendly_name() + "/product")
    return _reshaped(made.output(0), tuple(op.get_output_shape(0)))


def _reshaped(source: Any, shape: Tuple[int, ...]) -> Any:
    return opset().reshape(source, opset().constant(np.array(shape, np.int64)), False)
