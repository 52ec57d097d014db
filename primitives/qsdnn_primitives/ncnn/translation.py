"""Translates a layer's ONNX nodes to operators of ncnn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qsdnn.model.layer import Layer
from qsdnn_primitives.ncnn import elementwise, layout, linear, windows
from qsdnn_primitives.ncnn.operator import Lowering, Operator
from qsdnn_primitives.ncnn.passes import fuse
from qsdnn_primitives.plain.node import UnsupportedError
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate_node

Lower = Callable[[Lowering], None]

LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(elementwise.PLAIN, elementwise.plain),
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), elementwise.binary),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), elementwise.folded),
    **dict.fromkeys(("Gelu", "GeluTanh"), elementwise.gelu),
    **dict.fromkeys(("AveragePool", "MaxPool"), windows.pool),
    **dict.fromkeys(("Pad", "PadIndexed"), layout.pad),
    **dict.fromkeys(linear.REDUCTIONS, linear.reduction),
    "BatchNormalization": linear.batch_normalization,
    "Clip": elementwise.clip,
    "Concat": layout.concat,
    "Conv": windows.conv,
    "ConvTranspose": windows.deconv,
    "Elu": elementwise.elu,
    "Gemm": linear.gemm,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "LRN": linear.lrn,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": linear.matmul,
    "PRelu": elementwise.prelu,
    "Power": elementwise.power,
    "Reshape": layout.reshape,
    "Resize": layout.interp,
    "Selu": elementwise.selu,
    "Slice": layout.crop,
    "Softmax": linear.softmax,
    "Split": layout.split,
    "Transpose": layout.transpose,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A layer as a part of an ncnn network.

    Attributes:
        operators: The operators, in topological order.
        aliases: Blobs by the names of tensors that are the same: nothing is computed for these.
    """

    operators: tuple[Operator, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)


def translate(layer: Layer) -> Fragment:
    """The ncnn operators of a layer.

    Raises:
        UnsupportedError: ncnn has no operator that computes exactly what a node does.
    """
    if layer.pinned:
        raise UnsupportedError(layer.pinned)
    operators: list[Operator] = []
    aliases: dict[str, str] = {}
    for position, node in enumerate(layer.nodes):
        lowering = Lowering(translate_node(node, WITH_RESAMPLING), f"{layer.index}:{position}")
        lower = LOWERINGS.get(lowering.op.kind)
        if lower is None:
            raise UnsupportedError(f"{node.op_type} has no operator")
        try:
            lower(lowering)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UnsupportedError(f"{node.op_type} {node.name} is malformed: {error}") from error
        operators += lowering.operators
        aliases |= lowering.aliases
    return Fragment(operators=tuple(fuse(operators, aliases, layer.outputs)), aliases=aliases)
