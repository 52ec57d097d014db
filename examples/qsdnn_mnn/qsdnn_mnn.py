"""MNN for qsdnn, host half: which layers it takes, and the program that is sent to the board."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape
from qsdnn_primitives.plain.translation import translate, write_program

AUTO = Primitive(engine="mnn", algorithm="auto", precision=Precision.FP32, family="mnn")
"""MNN chooses its algorithms itself and does not say which: there is one primitive."""

UNBOUNDED = 1e30
"""Limits beyond it are none."""


class MnnEngine:
    """The host half of the engine ``mnn``; see `qsdnn.engine.Engine`."""

    name = "mnn"

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """`AUTO`, or nothing where MNN does not compute exactly what ONNX says."""
        try:
            return (AUTO,) if all(map(_is_exact, translate(layer))) else ()
        except UnsupportedError:
            return ()

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a program; weights stay in the graph's file, linked beside it.

        Raises:
            BuildError: A layer cannot be expressed.
        """
        try:
            layers = [translate(layer) for layer in segment.layers]
        except UnsupportedError as error:
            raise BuildError(f"mnn cannot run it: {error}") from error
        files = write_program(segment, layers, folder)
        return Artifact(file=files[0], files=tuple(files), options={})


def _is_exact(op: Op) -> bool:
    shapes, attributes = [static_shape(value) for value in op.inputs], op.attributes
    match op.kind:
        case "Conv":
            depthwise = attributes["group"] == shapes[0][1] == shapes[1][0]
            return _has_windows(op, shapes[1][2:]) and (attributes["group"] == 1 or depthwise)
        case "MaxPool" | "AveragePool":
            plain = max(attributes["dilations"]) == 1 and not any(attributes["begins"])
            return _has_windows(op, attributes["kernel"]) and plain
        case "ReduceMean":
            return len(shapes[0]) == 4 and tuple(attributes["axes"]) == (2, 3)
        case "Softmax":
            return len(attributes["axes"]) == 1
        case "Add":
            return shapes[0] == shapes[1] and not any(map(is_constant, op.inputs))
        case "Gemm":
            rows = [shape for shape in shapes[2:] if max(shape, default=1) != prod(shape)]
            return not (attributes["transA"] or rows) and all(map(is_constant, op.inputs[1:]))
        case "Clip":
            return all(abs(attributes[limit]) < UNBOUNDED for limit in ("min", "max"))
    return op.kind in ("Relu", "Reshape")


def _has_windows(op: Op, kernel: Sequence[int]) -> bool:
    """Whether MNN, which pads both ends alike, makes as many windows of an image as ONNX."""
    shape, made = static_shape(op.inputs[0]), static_shape(op.outputs[0])
    begins, strides, dilations = (op.attributes[n] for n in ("begins", "strides", "dilations"))
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    return len(shape) == 4 and all(
        out == (size + 2 * begin - span) // stride + 1
        for out, size, begin, span, stride in zip(
            made[2:], shape[2:], begins, spans, strides, strict=True
        )
    )


ENGINE = MnnEngine()
