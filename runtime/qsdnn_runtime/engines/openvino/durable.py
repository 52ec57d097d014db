"""Replaces operators that the plugin would not compute as their layers ask.

The plugin's passes lose what was asked for: some passes make other operators and do not copy the
hint ``precise``, one moves the strides of 1x1 convolutions to where integers do not follow, and
integers run on through every operator that can take them.
"""

from __future__ import annotations

from typing import Any, Mapping, Tuple

import numpy as np

from .kernel import BARRIER, Request
from .library import opset

_ROUNDINGS = ("floor", "ceil")
_PRODUCTS = ("Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData")
# The host may have put an Identity between a join and the integers behind it; it vanishes.
_JOINS = ("Concat", "Identity")
_LOWEST = np.finfo(np.float32).min


def make_durable(model: Any, owners: Mapping[str, int], requests: Mapping[int, Request]) -> None:
    """Replaces the operators of a model that would lose what their layers ask for.

    Args:
        model: The model, an `openvino.Model`, changed in place.
        owners: Layers by the friendly names of their operators; a replacement takes the old name.
        requests: The requests, by layer.
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
    """Takes the strides out of a 1x1 convolution, into a pool of one pixel before it.

    Else the plugin makes that pool itself, before the values become integers, and the convolution,
    which then reads no integers, is computed in floating point.
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
    """Puts a barrier against integers between an operator and its neighbours in integers.

    Integers would run on behind their layers, and, through operators that join tensors, before
    them.
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
    """Puts a barrier before an input: max(value, least float), which joins the conversion."""
    source = port.get_source_output()
    if source.get_node().get_type_name() == "Constant":
        return
    barrier = opset().maximum(source, opset().constant(_LOWEST))
    barrier.set_friendly_name("%s/%d%s" % (op.get_friendly_name(), port.get_index(), BARRIER))
    port.replace_source_output(barrier.output(0))


def _keep_precise(op: Any) -> None:
    """Replaces a MaxPool by one of the first version, and a product by a convolution.

    The plugin makes a MaxPool of the first version of any other, and a FullyConnected of a product;
    neither keeps the hint. The convolution is one over one pixel.
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
    """A MaxPool of the first version; None where that version cannot do what `op` does."""
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
    """A convolution for a product; None where the second factor is no constant matrix."""
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
