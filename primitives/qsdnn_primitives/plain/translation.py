"""Translates a layer's ONNX nodes to operators in plain form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from qsdnn.model.layer import Layer
from qsdnn_primitives.plain import arithmetic, layout, resampling
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
    "ConvTranspose": resampling.conv_transpose,
    "Resize": resampling.resize,
    "Upsample": resampling.resize,
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
