"""The host half of the engine ``onnxruntime``: offers primitives, and builds segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import onnx

from qsdnn.engine import EngineInfo
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment, told_layouts
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.onnxruntime.nchwc import lower, write_blocked
from qsdnn_primitives.onnxruntime.nodes import blocked_nodes, integer_nodes
from qsdnn_primitives.quantization.qdq import insert

NAME = "onnxruntime"
# Capabilities of boards: the blocked layout, integers that can be read back, execution providers.
BLOCKED = "NCHWC"
_INTEGERS = "INT8"
_PROVIDER = "ep:"


def _primitive(algorithm: str, precision: Precision, layout: str) -> Primitive:
    return Primitive(
        engine=NAME, algorithm=algorithm, precision=precision, family=NAME, format=layout
    )


NCHWC = _primitive("nchwc", Precision.FP32, "nchwc")
GEMM = _primitive("gemm", Precision.FP32, "nchw")
INTEGER = _primitive("int8", Precision.INT8, "u8")


def _provided(word: str) -> Primitive:
    """A primitive of another execution provider, e.g. ``tensorrt/fp16``."""
    algorithm, precision = word.split("/")
    return Primitive(
        engine=NAME,
        algorithm=algorithm,
        precision=Precision(precision),
        family=f"{NAME}/{word}",
    )


class OnnxruntimeEngine:
    """Takes every layer there is, pinned ones included; all choices share one session."""

    name = NAME
    reads_onnx = True

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """Both fp32 algorithms and int8, except those that the board says it lacks.

        Then one for each other execution provider of the board, which is a graph of its own.

        A layer without a convolution runs in the layout of its neighbours. It is offered both fp32
        algorithms too: the choice says which conversions are expected, and none are expected when
        the choice follows the neighbours.
        """
        told = info.capabilities or (BLOCKED, _INTEGERS)
        blocked = dataclasses.replace(NCHWC, layouts=told_layouts(info.capabilities))
        offers = [blocked, GEMM] if BLOCKED in told else [GEMM]
        if _INTEGERS in told and integer_nodes(layer):
            offers.append(INTEGER)
        words = [word[len(_PROVIDER) :] for word in info.capabilities if word.startswith(_PROVIDER)]
        return offers if layer.pinned else [*offers, *map(_provided, words)]

    def layouts(self, layer: Layer, primitive: Primitive) -> Sequence[str]:
        """The primitive's layouts in which all nodes of the layer can run."""
        return [
            layout
            for layout in primitive.layouts
            if len(blocked_nodes(layer, layout)) == len(layer.nodes)
        ]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes an ONNX file in which each layer will run as chosen.

        Raises:
            BuildError: The segment cannot be written, or lacks the calibration it needs.
        """

        def edit(model: onnx.ModelProto) -> None:
            if INTEGER in segment.choices:
                insert(model, _nodes(segment, INTEGER), segment.calibration, folder)
            if NCHWC in segment.choices:  # else the board turns that pass off
                lower(model, _nodes(segment, GEMM))
            for layout in {*segment.layouts.values()}:  # one, as the board has no other
                ports = {name: _channels(segment, name) for name in segment.layouts}
                write_blocked(model, _blocked(segment, layout), ports, layout, folder)

        files, options = write_segment(segment, folder, edit)
        for layout in segment.layouts.values():  # only machines with such blocks can run the file
            options["layout"] = layout
        return Artifact(file=files[0], files=files, options=options)


def _nodes(segment: Segment, primitive: Primitive) -> set[str]:
    """The names in `write_segment` of the nodes whose layers chose a primitive."""
    return {
        f"{layer.index}:{position}"
        for layer, choice in zip(segment.layers, segment.choices, strict=True)
        if choice == primitive
        for position in (integer_nodes(layer) if primitive == INTEGER else range(len(layer.nodes)))
    }


def _blocked(segment: Segment, layout: str) -> set[str]:
    """The names of the nodes whose layers chose to run blocked, and that can."""
    return {
        f"{layer.index}:{position}"
        for layer, choice in zip(segment.layers, segment.choices, strict=True)
        if choice == NCHWC
        for position in blocked_nodes(layer, layout)
    }


def _channels(segment: Segment, name: str) -> int:
    shape = segment.graph.tensors[name].shape
    assert shape is not None
    return shape[1]


ENGINE = OnnxruntimeEngine()
