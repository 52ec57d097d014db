"""Translates a layer's ONNX nodes to operators in plain form, and writes these as a program.

The program's format is that of `qsdnn_runtime.engines.blas.program`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qsdnn.files import link_file, write_content
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Segment
from qsdnn_primitives.plain import arithmetic, layout
from qsdnn_primitives.plain.node import NodeReader, Op, UnsupportedError, is_constant, static_shape

Translator = Callable[[NodeReader], Op]

OLDEST_OPSET = 7
"""The oldest operator set: before it, broadcasting was an attribute, and operators differed."""

UNARY = (
    *("Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "Log", "Mish", "Neg", "Reciprocal"),
    *("Relu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
VIEWS = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")

TRANSLATORS: Mapping[str, Translator] = {
    **dict.fromkeys(UNARY, arithmetic.same),
    **dict.fromkeys(("Add", "Div", "MatMul", "Max", "Mean", "Min", "Mul"), arithmetic.same),
    **dict.fromkeys(("PRelu", "Sub", "Sum"), arithmetic.same),
    **dict.fromkeys(VIEWS, layout.reshape),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), arithmetic.reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), arithmetic.global_pool),
    **dict.fromkeys(("Softmax", "LogSoftmax"), arithmetic.softmax),
    "AveragePool": arithmetic.average_pool,
    "BatchNormalization": arithmetic.batch_normalization,
    "Clip": arithmetic.clip,
    "Concat": layout.concat,
    "Conv": arithmetic.conv,
    "DepthToSpace": layout.depth_to_space,
    "Dropout": layout.dropout,
    "Elu": arithmetic.elu,
    "Expand": layout.expand,
    "Gather": layout.gather,
    "Gelu": arithmetic.gelu,
    "Gemm": arithmetic.gemm,
    "GroupNormalization": arithmetic.group_normalization,
    "HardSigmoid": arithmetic.hard_sigmoid,
    "InstanceNormalization": arithmetic.instance_normalization,
    "LRN": arithmetic.lrn,
    "LayerNormalization": arithmetic.layer_normalization,
    "LeakyRelu": arithmetic.leaky_relu,
    "MaxPool": arithmetic.max_pool,
    "Pad": layout.pad,
    "Pow": arithmetic.power,
    "Selu": arithmetic.selu,
    "Slice": layout.slices,
    "SpaceToDepth": layout.space_to_depth,
    "Split": layout.split,
    "Transpose": layout.transpose,
}
"""The translators whose operators every engine has that starts from the plain form."""

WITH_RESAMPLING: Mapping[str, Translator] = {
    **TRANSLATORS,
    "ConvTranspose": layout.conv_transpose,
    "Resize": layout.resize,
    "Upsample": layout.resize,
}
"""The same, and those of operators that change the size of images."""


def translate(layer: Layer, translators: Mapping[str, Translator] = TRANSLATORS) -> tuple[Op, ...]:
    """The operators of a layer.

    Args:
        layer: The layer.
        translators: The translators by ONNX operator.

    Raises:
        UnsupportedError: A node has no translation, or is not of static float32 tensors.
    """
    if layer.pinned:
        raise UnsupportedError(layer.pinned)
    return tuple(translate_node(node, translators) for node in layer.nodes)


def translate_node(node: ir.Node, translators: Mapping[str, Translator] = TRANSLATORS) -> Op:
    """The operator of a node.

    Args:
        node: The node.
        translators: The translators by ONNX operator.

    Raises:
        UnsupportedError: The node has no translation, or is not of static float32 tensors.
    """
    translator = translators.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if translator is None:
        raise UnsupportedError(f"{node.op_type} has no translation")
    reader = NodeReader(node)
    if reader.opset < OLDEST_OPSET:
        raise UnsupportedError(f"operator set {reader.opset} is too old")
    try:
        op = translator(reader)
    except (ValueError, TypeError, LookupError, ZeroDivisionError) as error:
        raise UnsupportedError(f"{node.op_type} {node.name} is malformed: {error}") from error
    check_types(op)
    for value in node.outputs[len(op.outputs) :]:
        if value.name and (value.uses() or value.is_graph_output()):
            raise UnsupportedError(f"{value.name} is not made")
    return op


def check_types(op: Op) -> None:
    """Refuses values that are not float32 with a static shape, except the indices of Gather."""
    for number, value in enumerate((*op.inputs, *op.outputs)):
        is_index = op.kind == "Gather" and number == 1
        wanted = (ir.DataType.INT32, ir.DataType.INT64) if is_index else (ir.DataType.FLOAT,)
        tensor = value.const_value if is_constant(value) else None
        if (tensor.dtype if tensor is not None else value.dtype) not in wanted:
            raise UnsupportedError(f"{value.name} is {value.dtype}")
        static_shape(value)


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
