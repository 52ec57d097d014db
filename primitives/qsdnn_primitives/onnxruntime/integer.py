"""The nodes that onnxruntime's CPU provider has integer kernels for."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.model.dataflow import is_weight
from qsdnn.model.layer import Layer
from qsdnn_primitives.quantization.qdq import CLAMPS, OPSET, PRODUCTS

# Operators with kernels like QLinearAdd, and operators that run on uint8 as they do on float.
_OPERATORS = PRODUCTS | CLAMPS | {
    *("Add", "Mul", "LeakyRelu", "Sigmoid", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
}  # fmt: skip


def integer_nodes(layer: Layer) -> range:
    """The positions of a layer's nodes that can run in integers; none where it makes no sense.

    A layer with a product may end in operators that cannot, like a hard-swish; any other layer can
    as a whole or not at all. A clamp alone has no kernel.
    """
    if layer.pinned or not layer.nodes or _opset(layer.nodes[0]) < OPSET:
        return range(0)
    able = [_is_able(node) for node in layer.nodes]
    if all(able):
        return range(len(able)) if set(layer.op_types) - CLAMPS else range(0)
    products = (i for i, kind in enumerate(layer.op_types) if able[i] and kind in PRODUCTS)
    first = next(products, len(able))
    return range(first, next((i for i in range(first, len(able)) if not able[i]), len(able)))


def _is_able(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
        return False
    if node.op_type in PRODUCTS and not _has_plain_parameters(node):
        return False
    values = [value for value in (*node.inputs[:1], *node.outputs) if value is not None]
    return all(v.dtype == ir.DataType.FLOAT for v in values if v.name) and all(
        value is None or is_weight(value) or value.dtype == ir.DataType.FLOAT
        for value in node.inputs
    )


def _has_plain_parameters(node: ir.Node) -> bool:
    """Whether a node's weights and bias are constants, and nothing else scales them."""
    data, *parameters = node.inputs
    weight = parameters[0]
    if data is None or is_weight(data) or weight is None or weight.shape is None:
        return False
    if not all(value is None or is_weight(value) for value in parameters):
        return False
    if node.op_type == "Conv":
        return True
    alike = [node.attributes.get(name) for name in ("alpha", "beta")]
    bias = parameters[1] if len(parameters) > 1 else None
    return (
        all(attribute is None or attribute.as_float() == 1.0 for attribute in alike)
        and "transA" not in node.attributes
        and len(weight.shape) == 2
        and (bias is None or (bias.shape is not None and len(bias.shape) == 1))
    )


def _opset(node: ir.Node) -> int:
    graph = node.graph
    return 0 if graph is None else graph.opset_imports.get("", 0)
