"""Operators that keep the hint ``precise`` in the place of those that lose it.

The plugin makes other operators of these, which it does not copy the hint to: a MaxPool becomes one
of the first version, a product with a constant a FullyConnected. So the model has the former from
the start, and a convolution over one pixel for the latter.
"""

from __future__ import annotations

from typing import Any, Collection, Dict

import numpy as np

from .library import opset

_ROUNDINGS = ("floor", "ceil")


def make_durable(model: Any, names: Collection[str]) -> None:
    """Replaces operators.

    Args:
        model: `openvino.Model`, changed in place.
        names: Friendly names of those that are to be precise; what replaces one takes its name.
    """
    for op in model.get_ordered_ops():
        if op.get_friendly_name() not in names:
            continue
        if op.get_type_name() == "MaxPool":
            made = _max_pool(op)
        elif op.get_type_name() == "MatMul":
            made = _convolution(op)
        else:
            continue
        if made is not None:
            _replace(op, made)


def _replace(op: Any, made: Any) -> None:
    name = op.get_friendly_name()
    op.set_friendly_name(name + "/replaced")
    made.set_friendly_name(name)
    for target in op.output(0).get_target_inputs():
        target.replace_source_output(made.output(0))


def _max_pool(op: Any) -> Any:
    attributes: Dict[str, Any] = op.get_attributes()
    plain = set(attributes.get("dilations", [1])) == {1}
    rounding = attributes.get("rounding_type", "floor")
    indices = op.outputs()[1:]
    if not plain or rounding not in _ROUNDINGS or any(o.get_target_inputs() for o in indices):
        return None
    pads = (attributes["pads_begin"], attributes["pads_end"])
    source = op.input(0).get_source_output()
    kernel, strides = attributes["kernel"], attributes["strides"]
    auto_pad = attributes.get("auto_pad", "explicit")
    return opset(1).max_pool(source, strides, *pads, kernel, rounding, auto_pad)


def _convolution(op: Any) -> Any:
    """The product; None where its second factor is no constant matrix."""
    factor = op.input(1).get_source_output().get_node()
    attributes = op.get_attributes()
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


def _reshaped(source: Any, shape: Any) -> Any:
    return opset().reshape(source, opset().constant(np.array(shape, np.int64)), False)
