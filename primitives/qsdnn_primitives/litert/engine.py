"""The host half of the engine ``litert``: offers primitives for layers, and builds segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.litert.graph import fused, numbers, parts, whole
from qsdnn_primitives.litert.integers import candidates
from qsdnn_primitives.litert.model import Subgraph, WeightFiles, write_model
from qsdnn_primitives.litert.program import Form, Program, Tensor
from qsdnn_primitives.litert.translation import lower
from qsdnn_primitives.plain.node import UnsupportedError, static_shape

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
            accepted = _offers(layer, _ALL)
            if accepted and choice not in accepted:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(map(str, accepted))}",
                )
        graph = whole(segment)
        layers, known = parts(graph), numbers(graph)
        weights = WeightFiles(segment.graph.weights, folder)
        model = write_model([graph], weights)
        profile = write_model([*layers.values()], weights)
        options = {
            **model.options,
            "operators": [operator.layer for operator in graph.operators],
            "profile": {
                **profile.options,
                "file": profile.file,
                "inputs": [known[tensor] for tensor in graph.inputs],
                "outputs": [known[tensor] for tensor in graph.outputs],
                "layers": [_part(layer, part, known) for layer, part in layers.items()],
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
    operators = fused(program, [program.take(name, Form.PLAIN) for name in layer.outputs])
    if candidates(operators, program.names, {layer.index}):
        offers += [_primitive(name, Precision.INT8) for name in algorithms if name in OFFERED]
    return offers


def _enter(program: Program, layer: Layer) -> None:
    made = {value.name for node in layer.nodes for value in node.outputs}
    for node in layer.nodes:
        for value in node.inputs:
            if value is not None and value.name in layer.inputs and value.name not in made:
                program.enter(str(value.name), static_shape(value))


def _part(layer: int, part: Subgraph, known: Mapping[Tensor, int]) -> dict[str, Any]:
    return {
        "layer": layer,
        "inputs": [known[tensor] for tensor in part.inputs],
        "outputs": [known[tensor] for tensor in part.outputs],
    }
