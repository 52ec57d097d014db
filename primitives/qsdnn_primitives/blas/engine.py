"""The host half of the engine ``blas``: offers primitives for layers, and builds segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.blas.algorithms import algorithms
from qsdnn_primitives.plain.node import Op, UnsupportedError
from qsdnn_primitives.plain.program import write_program
from qsdnn_primitives.plain.translation import translate


class BlasEngine:
    """The host half of the engine ``blas``; see `qsdnn.engine.Engine`.

    All primitives are of one family: a segment may mix algorithms as it likes.
    """

    name = "blas"

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """One primitive for each algorithm that runs the layer.

        Likely fastest first. There is none for a pinned layer, for operators without a translation,
        and for tensors that are not static float32.
        """
        try:
            names = _algorithms(translate(layer))
        except UnsupportedError:
            return ()
        return tuple(
            Primitive(engine=self.name, algorithm=name, precision=Precision.FP32, family=self.name)
            for name in names
        )

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a program; the weights stay in the graph's file, linked beside the program.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for.
        """
        layers = []
        for layer, choice in zip(segment.layers, segment.choices, strict=True):
            try:
                ops = translate(layer)
            except UnsupportedError as error:
                raise BuildError(f"blas cannot run layer '{layer.name}': {error}") from error
            if choice.algorithm not in _algorithms(ops) or choice.precision is not Precision.FP32:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(_algorithms(ops))}",
                )
            layers.append(tuple(_computed_by(choice.algorithm, op) for op in ops))
        files = write_program(segment, layers, folder)
        return Artifact(file=files[0], files=tuple(files), options={})


def _algorithms(ops: Sequence[Op]) -> tuple[str, ...]:
    """The algorithms that a layer may take; ``numpy`` alone where the layer has no choice."""
    choices = [choice for choice in map(algorithms, ops) if choice]
    if not choices:
        return ("numpy",)
    return tuple(name for name in choices[0] if all(name in other for other in choices[1:]))


def _computed_by(algorithm: str, op: Op) -> Op:
    """The operator set to an algorithm, if the operator has that choice."""
    return replace(op, algorithm=algorithm) if algorithm in algorithms(op) else op
