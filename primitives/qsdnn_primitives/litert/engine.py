"""The host half of the engine ``litert``: offers primitives for layers, and builds segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.litert import convolution, elementwise, layout, product, reduction
from qsdnn_primitives.litert.integers import candidates, in_integers
from qsdnn_primitives.litert.lowering import Lowering
from qsdnn_primitives.litert.model import Subgraph, write_model
from qsdnn_primitives.litert.passes import fuse, pad_with_zeros
from qsdnn_primitives.litert.program import Form, Operator, Program, Tensor
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate

NAME = "litert"

OFFERED = ("xnnpack", "builtin")
UNOFFERED = ("reference",)

WITHOUT_REFERENCE = frozenset({"CEIL", "ELU", "LOCAL_RESPONSE_NORMALIZATION"})
"""The operators that have no reference kernel, or one whose error is up to 1e-4."""


class LitertEngine:
    """The host half of the engine ``litert``; see `qsdnn.engine.Engine`.

    An algorithm is a set of kernels: ``xnnpack`` is TensorFlow Lite as it comes, with the XNNPACK
    delegate, which leaves to the built-in kernels what it cannot run; ``builtin`` are these kernels
    alone; ``reference`` are plain loops, which are never the fastest. An interpreter has one set,
    so each is a family of its own.
    """

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The two sets of fast kernels; none for what TensorFlow Lite computes in another way."""
        return _offers(layer, OFFERED)

    def unoffered(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The reference kernels, where there is one for each operator that is exact."""
        return _offers(layer, UNOFFERED)

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a model of the segment, and one with a graph for each layer, for profiles.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for.
        """
        for layer, choice in zip(segment.layers, segment.choices, strict=True):
            known = _offers(layer, _ALL)
            if known and choice not in known:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(map(str, known))}",
                )
        whole = _whole(segment)
        parts = _parts(whole)
        model = write_model([whole], segment.graph.weights, folder)
        profile = write_model([*parts.values()], segment.graph.weights, folder)
        numbers = _numbers(whole)
        options = {
            **model.options,
            "operators": [operator.layer for operator in whole.operators],
            "profile": {
                **profile.options,
                "file": profile.file,
                "inputs": [numbers[tensor] for tensor in whole.inputs],
                "outputs": [numbers[tensor] for tensor in whole.outputs],
                "layers": [_part(layer, part, numbers) for layer, part in parts.items()],
            },
        }
        files = tuple(dict.fromkeys([*model.files, *profile.files]))
        return Artifact(file=model.file, files=files, options=options)


_ALL = (*OFFERED, *UNOFFERED)


def _primitive(algorithm: str, precision: Precision = Precision.FP32) -> Primitive:
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=precision,
        family=f"{NAME}/{algorithm}",
        format="s8" if precision is Precision.INT8 else "",
    )


def _offers(layer: Layer, algorithms: Sequence[str]) -> list[Primitive]:
    program = Program()
    try:
        _enter(program, layer)
        lower(layer, program)
        for name in layer.outputs:
            program.take(name, Form.PLAIN)
    except UnsupportedError:
        return []
    if WITHOUT_REFERENCE & {operator.kind for operator in program.operators}:
        algorithms = [name for name in algorithms if name != "reference"]
    offers = [_primitive(name) for name in algorithms]
    operators = fuse(program.operators, [program.take(name, Form.PLAIN) for name in layer.outputs])
    if candidates(operators, program.names, {layer.index}):
        offers += [_primitive(name, Precision.INT8) for name in algorithms if name in OFFERED]
    return offers


def _enter(program: Program, layer: Layer) -> None:
    made = {value.name for node in layer.nodes for value in node.outputs}
    for node in layer.nodes:
        for value in node.inputs:
            if value is not None and value.name in layer.inputs and value.name not in made:
                program.enter(str(value.name), static_shape(value))


def _whole(segment: Segment) -> Subgraph:
    """The segment as one graph; inputs and outputs are in ONNX's order, and all differ."""
    program, tensors = Program(), segment.graph.tensors
    inputs = []
    for name in segment.inputs:
        shape = tensors[name].shape
        assert shape is not None
        inputs.append(program.enter(name, shape))
    for layer in segment.layers:
        try:
            lower(layer, program)
        except UnsupportedError as error:
            raise BuildError(f"{NAME} cannot run layer '{layer.name}': {error}") from error
    outputs: list[Tensor] = []
    for name in segment.outputs:
        program.layer = segment.graph.producer[name]
        tensor = program.take(name, Form.PLAIN)
        if tensor in inputs or tensor in outputs:
            program.layer = segment.layers[-1].index  # behind whatever made it
            tensor = program.copy(tensor)
        outputs.append(tensor)
    operators = pad_with_zeros(fuse(program.operators, outputs))
    chosen = {
        layer.index
        for layer, choice in zip(segment.layers, segment.choices, strict=True)
        if choice.precision is Precision.INT8
    }
    calibration = segment.calibration
    operators = in_integers(operators, program.names, chosen, calibration, outputs)
    return Subgraph(operators=operators, inputs=inputs, outputs=outputs)


def _parts(whole: Subgraph) -> dict[int, Subgraph]:
    """The graph of each layer that has operators, in an order in which they can run."""
    layers: dict[int, list[Operator]] = {}
    for operator in whole.operators:
        layers.setdefault(operator.layer, []).append(operator)
    return {layer: _cut(layers[layer], whole) for layer in sorted(layers)}


def _cut(operators: Sequence[Operator], whole: Subgraph) -> Subgraph:
    """Some operators of a graph, with what they read of others and others of them."""
    made = {tensor for operator in operators for tensor in operator.outputs}
    read = dict.fromkeys(
        tensor
        for operator in operators
        for tensor in operator.inputs
        if tensor is not None and tensor.data is None and tensor not in made
    )
    chosen = {id(operator) for operator in operators}
    wanted = {t for o in whole.operators if id(o) not in chosen for t in o.inputs}
    wanted |= set(whole.outputs)
    outputs = [t for operator in operators for t in operator.outputs if t in wanted]
    return Subgraph(operators=operators, inputs=[*read], outputs=outputs)


def _numbers(whole: Subgraph) -> dict[Tensor, int]:
    """A number for each activation of a graph."""
    tensors = [*whole.inputs, *(t for operator in whole.operators for t in operator.outputs)]
    return {tensor: number for number, tensor in enumerate(tensors)}


def _part(layer: int, part: Subgraph, numbers: Mapping[Tensor, int]) -> dict[str, Any]:
    return {
        "layer": layer,
        "inputs": [numbers[tensor] for tensor in part.inputs],
        "outputs": [numbers[tensor] for tensor in part.outputs],
    }


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
    for op in translate(layer, WITH_RESAMPLING):
        if op.kind not in LOWERINGS:
            raise UnsupportedError(f"{op.kind} has no operator")
        for value in (*op.inputs, *op.outputs):
            if not is_constant(value) and not static_shape(value):
                raise UnsupportedError(f"{value.name} has no dimensions")  # nor has it a view
        try:
            LOWERINGS[op.kind](Lowering(op, program))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise UnsupportedError(f"{op.kind} is malformed: {error}") from error
