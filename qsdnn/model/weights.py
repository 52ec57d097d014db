"""The large weights of a model: kept aside while it is rewritten, then shared by its segments.

Rewriting copies a model a few times and passes it through protobuf, which ends at 2 GiB; no
rewriting here needs the values of weights that are only read together with activations.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.external_data_helper import uses_external_data

from qsdnn.files import part_file
from qsdnn.mapping import chunks
from qsdnn.model.read import external_bytes, load_external, tensors_of

# Shape inference looks at small ones, and onnxslim takes quadratic time in the number of inputs.
_KEPT_BYTES = 1 << 16


def detach(graph: onnx.GraphProto, data: Mapping[str, Path]) -> dict[str, ir.TensorProtocol]:
    """Turns large weights into inputs, in place, and loads all other external data.

    A ConstantOfShape with a constant shape counts as a weight: whole networks are published with
    these in place of weights.

    Args:
        graph: The graph; none of its initializers is an input.
        data: The external data files of the model, by the name that the model calls them.

    Returns:
        The tensors by name; external ones are mapped into memory, not read.
    """
    foldable = _read_by_constants(graph) | {value.name for value in graph.output}
    tensors = list(graph.initializer)
    del graph.initializer[:]
    aside: dict[str, ir.TensorProtocol] = {}
    for tensor in tensors:
        if tensor.name in foldable or not _is_large(tensor):
            graph.initializer.append(tensor)
        else:
            aside[tensor.name] = _as_ir(tensor, data)
    aside |= _take_fills(graph, foldable)
    for name, weight in aside.items():
        shape = [int(size) for size in weight.shape.numpy()]
        graph.input.append(onnx.helper.make_tensor_value_info(name, weight.dtype.value, shape))
    for tensor in tensors_of(graph):
        if uses_external_data(tensor):  # an attribute, or of a body
            load_external(tensor, data)
    return aside


def attach(graph: ir.Graph, tensors: Mapping[str, ir.TensorProtocol]) -> None:
    """Turns inputs back into the initializers that they were, in place."""
    values = [value for value in graph.inputs if value.name in tensors]
    for value in values:
        graph.inputs.remove(value)
        value.const_value = tensors[str(value.name)]
        graph.register_initializer(value)


def _read_by_constants(graph: onnx.GraphProto) -> set[str]:
    """The initializers read by nodes that read nothing but constants, which can be folded."""
    constants = {tensor.name for tensor in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        if set(node.input) - {""} <= constants:
            constants |= set(node.output)
            found |= set(node.input)
    return found


def _take_fills(graph: onnx.GraphProto, foldable: set[str]) -> dict[str, ir.TensorProtocol]:
    """Takes large ConstantOfShape nodes out of a graph; their tensors take no memory yet."""
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    taken: dict[str, ir.TensorProtocol] = {}
    kept = []
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "ConstantOfShape" else None
        if shape is None or node.domain or node.output[0] in foldable:
            kept.append(node)
            continue
        fill = np.zeros(1, np.float32)
        if node.attribute:
            fill = onnx.numpy_helper.to_array(node.attribute[0].t)
        array = np.broadcast_to(fill.reshape(()), onnx.numpy_helper.to_array(shape))
        if array.nbytes > _KEPT_BYTES:
            taken[node.output[0]] = ir.Tensor(array, name=node.output[0])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return taken


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


# Smaller ones stay in the graph, where shape inference and constant folding look at them.
_INLINE_BYTES = 1024
# A cache line, and what any vector unit wants.
_ALIGNMENT_BYTES = 64

_Bytes = NDArray[np.uint8]


def externalize(model: ir.Model, folder: Path) -> Path:
    """Moves every large initializer to one file, named by its content.

    The initializers become `onnx_ir.ExternalTensor`s into the file; equal ones share their bytes.
    Strings and types of less than a byte stay.

    Args:
        model: The model, changed in place.
        folder: The folder that the file is written into.

    Returns:
        The file, ``<first 16 hex digits of its sha256>.bin``; it may be empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = list(_large(model))
    with part_file(folder) as file:
        offsets, digest = _write(values, file)
        file.flush()
        path = folder / f"{digest[:16]}.bin"
        os.replace(file.name, path)
    for value, offset in zip(values, offsets, strict=True):
        value.const_value = _external(value, path, offset)
    return path


def _large(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                continue
            if tensor.dtype.bitwidth >= 8 and tensor.nbytes > _INLINE_BYTES:
                yield value


def _write(values: list[ir.Value], file: IO[bytes]) -> tuple[list[int], str]:
    """Writes each distinct content once; returns the offset of each value, and the sha256."""
    digest = hashlib.sha256()
    written: dict[tuple[int, bytes], list[tuple[int, _Bytes]]] = {}
    offsets, end = [], 0
    for value in values:
        content = _content(value)
        alike = written.setdefault((content.size, content[:64].tobytes()), [])
        found = next((at for at, other in alike if np.array_equal(content, other)), None)
        if found is None:
            padding = bytes(-end % _ALIGNMENT_BYTES)
            for chunk in chain(chunks(padding), chunks(content.data)):
                file.write(chunk)
                digest.update(chunk)
            found = end + len(padding)
            end = found + content.size
            alike.append((found, content))
        offsets.append(found)
    return offsets, digest.hexdigest()


def _content(value: ir.Value) -> _Bytes:
    """The bytes of a tensor, without a copy where it is in memory."""
    assert value.const_value is not None
    array = np.ascontiguousarray(value.const_value.numpy())
    return array.reshape(-1).view(np.uint8)


def _external(value: ir.Value, path: Path, offset: int) -> ir.ExternalTensor:
    tensor = value.const_value
    assert tensor is not None
    return ir.ExternalTensor(
        path.name,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=str(value.name),
        base_dir=path.parent.resolve(),
    )
