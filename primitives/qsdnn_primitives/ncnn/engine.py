"""The host half of the engine ``ncnn``: offers primitives for layers, and builds segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment, told_layouts
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.ncnn import arithmetic, elementwise, layout
from qsdnn_primitives.ncnn.network import write_network
from qsdnn_primitives.ncnn.operator import Fragment, Lowering, Operator
from qsdnn_primitives.ncnn.passes import AUTO, algorithms, fuse, has_integers, in_integers
from qsdnn_primitives.plain.node import UnsupportedError
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate_node

# The capability of a board whose ncnn computes in integers.
INTEGERS = "INT8"


class NcnnEngine:
    """The host half of the engine ``ncnn``; see `qsdnn.engine.Engine`.

    All primitives are of one family: a segment may mix algorithms, and fp32 with int8, as it likes;
    between layers tensors are fp32. There is no fp16 and no bf16: ncnn computes in fp16 on ARMv8.2
    processors, where nobody has tried this engine yet, and ncnn's bf16 is a way to store numbers
    that was slower than fp32 where it was measured.
    """

    name = "ncnn"

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """One primitive for each algorithm of a convolution, ``auto`` alone for any other layer.

        Convolutions and products also get ``auto/int8``, where the board says ``INT8``: all integer
        algorithms give the same bits, so nothing could tell which one ran.

        There is none for a pinned layer, for a batch of more than one, which ncnn does not know,
        and for operators that ncnn cannot compute exactly.
        """
        try:
            operators = translate(layer).operators
        except UnsupportedError:
            return ()
        names = [(name, Precision.FP32) for name in algorithms(operators)]
        if INTEGERS in info.capabilities and has_integers(operators):
            names.append((AUTO, Precision.INT8))
        layouts = told_layouts(info.capabilities)
        return tuple(
            Primitive(
                engine=self.name,
                algorithm=name,
                precision=precision,
                family=self.name,
                layouts=layouts,
            )
            for name, precision in names
        )

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a network; weights stay in the graph's file, linked beside it, where possible.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for, or lacks
                the calibration it needs.
        """
        fragments = [
            _fragment(layer, choice, segment.calibration)
            for layer, choice in zip(segment.layers, segment.choices, strict=True)
        ]
        files = write_network(segment, fragments, folder)
        return Artifact(file=files[0], files=tuple(files), options={})


def _fragment(layer: Layer, choice: Primitive, calibration: Calibration | None) -> Fragment:
    try:
        fragment = translate(layer)
    except UnsupportedError as error:
        raise BuildError(f"ncnn cannot run layer '{layer.name}': {error}") from error
    known = [(name, Precision.FP32) for name in algorithms(fragment.operators)]
    if has_integers(fragment.operators):
        known.append((AUTO, Precision.INT8))
    if (choice.algorithm, choice.precision) not in known:
        names = ", ".join(f"{name}/{precision}" for name, precision in known)
        raise BuildError(f"layer '{layer.name}' cannot take {choice}", hint=f"it can take: {names}")
    if choice.precision is Precision.INT8:
        operators = in_integers(fragment.operators, layer, calibration)
        return dataclasses.replace(fragment, operators=operators)
    return fragment


Lower = Callable[[Lowering], None]

LOWERINGS: Mapping[str, Lower] = {
    **dict.fromkeys(elementwise.PLAIN, elementwise.plain),
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), elementwise.binary),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), elementwise.folded),
    **dict.fromkeys(("Gelu", "GeluTanh"), elementwise.gelu),
    **dict.fromkeys(("AveragePool", "MaxPool"), arithmetic.pool),
    **dict.fromkeys(("Pad", "PadIndexed"), layout.pad),
    **dict.fromkeys(arithmetic.REDUCTIONS, arithmetic.reduction),
    "BatchNormalization": arithmetic.batch_normalization,
    "Clip": elementwise.clip,
    "Concat": layout.concat,
    "Conv": arithmetic.conv,
    "ConvTranspose": arithmetic.deconv,
    "Elu": elementwise.elu,
    "Gemm": arithmetic.gemm,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "LRN": arithmetic.lrn,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": arithmetic.matmul,
    "PRelu": elementwise.prelu,
    "Power": elementwise.power,
    "Reshape": layout.reshape,
    "Resize": layout.interp,
    "Selu": elementwise.selu,
    "Slice": layout.crop,
    "Softmax": arithmetic.softmax,
    "Split": layout.split,
    "Transpose": layout.transpose,
}


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
