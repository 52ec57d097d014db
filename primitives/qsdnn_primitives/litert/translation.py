"""The translation of a layer: which lowering each operator of the plain form has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qsdnn.model.layer import Layer
from qsdnn_primitives.litert import convolution, elementwise, layout, product, reduction
from qsdnn_primitives.litert.gelu import with_gelu
from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.program import Program
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate

Lower = Callable[[Lowering], None]

LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(elementwise.BINARY, elementwise.binary),
    **dict.fromkeys(elementwise.FOLDED, elementwise.folded),
    **dict.fromkeys(reduction.REDUCTIONS, reduction.reduction),
    **dict.fromkeys(("AveragePool", "MaxPool"), convolution.pool),
    **dict.fromkeys(("Elu", "Selu"), elementwise.elu),
    **dict.fromkeys(("Gelu", "GeluTanh"), elementwise.gelu),
    **dict.fromkeys(("LogSoftmax", "Softmax"), reduction.softmax),
    **dict.fromkeys(("Mish", "Softplus"), elementwise.softplus),
    **dict.fromkeys(("Pad", "PadIndexed"), layout.pad),
    "BatchNormalization": elementwise.batch_normalization,
    "Clip": elementwise.clip,
    "Concat": layout.concat,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.deconv,
    "Expand": layout.expand,
    "Gather": layout.gather,
    "Gemm": product.gemm,
    "HardSigmoid": elementwise.hard_sigmoid,
    "LRN": reduction.lrn,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": product.matmul,
    "PRelu": elementwise.prelu,
    "Power": elementwise.power,
    "Reciprocal": elementwise.reciprocal,
    "Reshape": layout.reshape,
    "Resize": layout.resize,
    "Slice": layout.slices,
    "Softsign": elementwise.softsign,
    "Split": layout.split,
    "Standardization": reduction.standardization,
    "Transpose": layout.transpose,
}


def lower(layer: Layer, program: Program) -> None:
    """Adds the operators of a layer to a program.

    Raises:
        UnsupportedError: TensorFlow Lite has no operators that compute exactly what a node does.
    """
    program.layer = layer.index
    for op in with_gelu(translate(layer, WITH_RESAMPLING), layer.outputs):
        if op.kind not in LOWERINGS:
            raise UnsupportedError(f"{op.kind} has no operator")
        for value in (*op.inputs, *op.outputs):
            if not is_constant(value) and not static_shape(value):
                raise UnsupportedError(f"{value.name} has no dimensions")  # nor has it a view
        try:
            LOWERINGS[op.kind](Lowering(op, program))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UnsupportedError(f"{op.kind} is malformed: {error}") from error
