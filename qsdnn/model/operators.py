"""The ONNX operators: what kind of layer each makes, and which of them only onnxruntime runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KINDS = {
    "conv": "Conv",
    "conv_transpose": "ConvTranspose",
    "gemm": "Gemm",
    "matmul": "MatMul Einsum",
    "pool": "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool",
    "eltwise": "Add Sub Mul Div Sum Mean Max Min Pow Mod",
    "activation": (
        "Relu LeakyRelu PRelu Clip Sigmoid Tanh Elu Selu Celu HardSwish HardSigmoid Gelu Softplus "
        "Softsign Mish Swish ThresholdedRelu Erf Exp Log Sqrt Reciprocal Abs Neg Floor Ceil Round "
        "Sign Sin Cos"
    ),
    "norm": (
        "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization "
        "RMSNormalization LpNormalization MeanVarianceNormalization"
    ),
    "softmax": "Softmax LogSoftmax",
    "concat": "Concat",
    "reshape": "Reshape Flatten Squeeze Unsqueeze Identity Dropout",
    "transpose": "Transpose",
    "slice": "Slice Split",
    "pad": "Pad",
    "resize": "Resize Upsample",
    "reduce": (
        "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare "
        "ReduceLogSum ReduceLogSumExp ArgMax ArgMin"
    ),
    "embedding": "Gather",
    "lrn": "LRN",
    "control_flow": "If Loop Scan SequenceMap",
    "other": (
        "Cast Expand Tile Where Equal Greater GreaterOrEqual Less LessOrEqual Not And Or Xor Shape "
        "Size Constant ConstantOfShape Range DepthToSpace SpaceToDepth CumSum Trilu TopK "
        "GatherElements GatherND ScatterElements ScatterND OneHot LSTM GRU RNN GridSample "
        "QuantizeLinear DequantizeLinear IsNaN IsInf"
    ),
}
KIND = {op: kind for kind, ops in _KINDS.items() for op in ops.split()}

ANCHORS = frozenset({"conv", "depthwise_conv", "conv_transpose", "gemm", "matmul"})

# Computed element by element from one tensor and constants: what an engine runs on the way out.
ACTIVATIONS = _words(
    "Relu LeakyRelu PRelu Clip Sigmoid Tanh Elu Selu Celu HardSwish HardSigmoid Gelu Softplus "
    "Softsign Mish Swish ThresholdedRelu"
)
# What activations are made of where an exporter writes them out.
ELEMENTWISE = ACTIVATIONS | _words(
    "Add Sub Mul Div Pow Min Max Neg Abs Exp Log Sqrt Reciprocal Erf"
)
VIEWS = _words(_KINDS["reshape"])
RESIDUALS = _words("Add Sum Mul")
SCALES = _words("Add Sub Mul Div BatchNormalization")
RANDOM = _words(
    "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli"
)


def kind_of(node: ir.Node) -> str:
    """The kind of layer a node makes; ``other`` for operators without a word of their own."""
    if node.domain not in ("", "ai.onnx"):
        return "other"
    kind = KIND.get(node.op_type, "other")
    return "depthwise_conv" if kind == "conv" and _is_depthwise(node) else kind


def _is_set(value: ir.Value | None) -> bool:
    """Whether a flag is on, or may be: only a constant is known to be off."""
    if value is None:
        return False
    return value.const_value is None or bool(value.const_value.numpy())


def _is_depthwise(node: ir.Node) -> bool:
    group = node.attributes.get("group")
    weight = node.inputs[1].shape if node.inputs[1] is not None else None
    return group is not None and group.as_int() > 1 and weight is not None and weight[1] == 1


def draws(node: ir.Node) -> bool:
    """Whether the output of a node is random, or may be."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type != "Dropout":
        return node.op_type in RANDOM
    inputs = (*node.inputs, None, None, None)
    ratio = inputs[1].const_value if inputs[1] is not None else None
    keeps_all = ratio is not None and not ratio.numpy().any()
    return _is_set(inputs[2]) and not keeps_all


def pin_of(node: ir.Node) -> str:
    """The reason why only onnxruntime may run a node; empty when other engines may."""
    if node.domain not in ("", "ai.onnx"):
        return f"{node.op_type} is of the domain {node.domain}"
    if KIND.get(node.op_type) == "control_flow":
        return f"{node.op_type} is control flow"
    if node.op_type in RANDOM:
        return f"{node.op_type} is random"
    if node.op_type not in KIND:
        return f"{node.op_type} is an uncommon operator"
    if node.op_type == "Dropout" and len(node.inputs) > 2 and _is_set(node.inputs[2]):
        return "Dropout may be in training mode"
    if node.op_type == "BatchNormalization" and sum(bool(v.name) for v in node.outputs) > 1:
        return "BatchNormalization is in training mode"
    return ""
