"""The host half of the engine ``torch``: offers primitives, and writes programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.plain.node import Op, UnsupportedError, static_shape
from qsdnn_primitives.plain.resampling import taps
from qsdnn_primitives.plain.translation import WITH_RESAMPLING, translate, write_program
from qsdnn_primitives.torch.algorithm import NAME, primitives_of


class TorchEngine:
    """The host half of the engine ``torch``; see `qsdnn.engine.Engine`.

    A family is a device. Inside a family algorithms, layouts and precisions mix in one segment; a
    tensor that passes from one layout or precision to another is converted there.
    """

    name = NAME

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The primitives of a layer, in the precisions that the board computes in.

        There is none for a pinned layer, for operators without a translation, and for tensors that
        are not static float32.
        """
        try:
            return tuple(primitives_of(_translate(layer), info))
        except UnsupportedError:
            return ()

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a program; the weights stay in the graph's file, linked beside the program.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for.
        """
        layers = []
        for layer, choice in zip(segment.layers, segment.choices, strict=True):
            try:
                ops = _translate(layer)
            except UnsupportedError as error:
                raise BuildError(f"torch cannot run layer '{layer.name}': {error}") from error
            known = {str(p): p for p in primitives_of(ops, _ANY)}
            if known.get(str(choice)) != choice:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(known)}",
                )
            word = f"{choice.algorithm}/{choice.precision}"
            layers.append(tuple(replace(op, algorithm=word) for op in ops))
        files = write_program(segment, layers, folder)
        return Artifact(file=files[0], files=tuple(files), options={})


_ANY = EngineInfo(
    name=NAME,
    version="",
    devices=("CPU", "CUDA"),
    capabilities=("FP32", "ONEDNN", "BF16", *(f"cuda/{precision}" for precision in Precision)),
)
"""A board that has all there is: what a program may ask for."""


def _translate(layer: Layer) -> tuple[Op, ...]:
    return tuple(_resampled(op) for op in translate(layer, WITH_RESAMPLING))


def _resampled(op: Op) -> Op:
    """The operator itself; a Resize with the taps of its rows and columns as attributes."""
    if op.kind != "Resize":
        return op
    before, after = (static_shape(value)[2:] for value in (op.inputs[0], op.outputs[0]))
    sizes = zip(before, after, op.attributes["scales"], strict=True)
    rows, columns = (taps(size, out, scale, op.attributes).tolist() for size, out, scale in sizes)
    return replace(op, kind="Resample", attributes={"rows": rows, "columns": columns})


ENGINE = TorchEngine()
