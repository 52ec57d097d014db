"""Keeps large weights aside while a model is rewritten.

Rewriting copies a model a few times and passes it through protobuf, which ends at 2 GiB; no
rewriting here needs the values of weights that are only read together with activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from qsdnn.graph.read import external_bytes, load_external, tensors_of

# Shape inference looks at smaller ones.
_KEPT_BYTES = 1024


def detach(graph: onnx.GraphProto, data: Mapping[str, Path]) -> dict[str, ir.TensorProtocol]:
    """Turns large initializers into inputs, in place, and loads all other external data.

    Args:
        graph: None of its initializers is an input.
        data: Its external data files, by the name it calls them.

    Returns:
        The tensors by name, external ones mapped into memory, not read.
    """
    foldable = _read_by_constants(graph)
    tensors = list(graph.initializer)
    del graph.initializer[:]
    aside: dict[str, ir.TensorProtocol] = {}
    for tensor in tensors:
        if tensor.name in foldable or not _is_large(tensor):
            graph.initializer.append(tensor)
            continue
        aside[tensor.name] = _as_ir(tensor, data)
        graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    for tensor in tensors_of(graph):
        if uses_external_data(tensor):  # an attribute, or of a body
            load_external(tensor, data)
    return aside


def attach(graph: ir.Graph, tensors: Mapping[str, ir.TensorProtocol]) -> None:
    """Turns inputs back into the initializers they were, in place."""
    values = [value for value in graph.inputs if value.name in tensors]
    for value in values:
        graph.inputs.remove(value)
        value.const_value = tensors[str(value.name)]
        graph.register_initializer(value)


def _read_by_constants(graph: onnx.GraphProto) -> set[str]:
    """Initializers read by nodes that read nothing but constants, which can be folded."""
    constants = {tensor.name for tensor in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        if set(node.input) - {""} <= constants:
            constants |= set(node.output)
            found |= set(node.input)
    return found


def _is_large(tensor: onnx.TensorProto) -> bool:
    dtype = ir.DataType(tensor.data_type)
    plain = dtype != ir.DataType.STRING and dtype.bitwidth >= 8
    return plain and int(np.prod(tensor.dims)) * dtype.itemsize > _KEPT_BYTES


def _as_ir(tensor: onnx.TensorProto, data: Mapping[str, Path]) -> ir.TensorProtocol:
    if not uses_external_data(tensor):
        return ir.serde.deserialize_tensor(tensor)
    dtype = ir.DataType(tensor.data_type)
    array = external_bytes(tensor, data).view(dtype.numpy()).reshape(tensor.dims)
    return ir.Tensor(array, dtype=dtype, name=tensor.name)
