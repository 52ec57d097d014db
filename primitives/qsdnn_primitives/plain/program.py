"""Writes a segment as a program, in the format of `qsdnn_runtime.engines.blas.program`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qsdnn.files import link_file, write_content
from qsdnn.model.segment import Segment
from qsdnn_primitives.plain.node import Op, is_constant, static_shape

SCHEMA = "qsdnn.blas/1"
DTYPES: Mapping[ir.DataType, str] = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.INT32: "int32",
    ir.DataType.INT64: "int64",
}


def write_program(segment: Segment, layers: Sequence[tuple[Op, ...]], folder: Path) -> list[str]:
    """Writes a program, and puts the graph's weights beside it if the program refers to them.

    Args:
        segment: The segment that the program computes.
        layers: The operators of each layer.
        folder: The folder to write to; files in it are kept, as files are named by their content.

    Returns:
        The names of the files, the program first.
    """
    weights = segment.graph.weights
    values = {
        value.name: value for ops in layers for op in ops for value in (*op.inputs, *op.outputs)
    }
    constants = {
        str(name): _constant(value, weights) for name, value in values.items() if is_constant(value)
    }
    shared = any("offset" in constant for constant in constants.values())
    document = {
        "schema": SCHEMA,
        "weights": weights.name if shared else None,
        "inputs": list(segment.inputs),
        "outputs": list(segment.outputs),
        "tensors": {n: _tensor(v) for n, v in values.items() if not is_constant(v)},
        "constants": constants,
        "layers": [
            {"index": layer.index, "ops": [_op(op) for op in ops]}
            for layer, ops in zip(segment.layers, layers, strict=True)
        ],
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    program = write_content(content, ".json", folder)
    return [program, link_file(weights, folder)] if shared else [program]


def _tensor(value: ir.Value) -> dict[str, Any]:
    tensor = value.const_value if is_constant(value) else None
    dtype = value.dtype if tensor is None else tensor.dtype
    assert dtype is not None
    return {"dtype": DTYPES[dtype], "shape": list(static_shape(value))}


def _constant(value: ir.Value, weights: Path) -> dict[str, Any]:
    """A constant's place in the graph's weights; the constant itself when it is not in there."""
    tensor = value.const_value
    if isinstance(tensor, ir.ExternalTensor) and Path(tensor.location).name == weights.name:
        return {**_tensor(value), "offset": tensor.offset or 0}
    assert tensor is not None
    return {**_tensor(value), "data": base64.b64encode(tensor.tobytes()).decode("ascii")}


def _op(op: Op) -> dict[str, Any]:
    return {
        "kind": op.kind,
        "algorithm": op.algorithm,
        "inputs": [value.name for value in op.inputs],
        "outputs": [value.name for value in op.outputs],
        "attributes": dict(op.attributes),
    }
