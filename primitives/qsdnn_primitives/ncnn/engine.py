"""Which primitives a layer may take, and how a segment is built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.graph.layer import Layer
from qsdnn.primitive import Precision, Primitive
from qsdnn.segment import Artifact, Segment
from qsdnn_primitives.blas.node import UnsupportedError

from .algorithm import algorithms
from .network import write_network
from .translation import translate


class NcnnEngine:
    """The host half of the engine ``ncnn``; see `qsdnn.engine.Engine`.

    All its primitives are of one family: a segment may mix algorithms as it likes. There is fp32
    only: ncnn computes in fp16 on ARMv8.2 processors, which nobody has tried with this yet, and its
    bf16 is a way to store numbers that was slower than fp32 where it was measured.
    """

    name = "ncnn"

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """One primitive for each algorithm of a convolution, ``auto`` alone for any other layer.

        None for a pinned layer, for a batch of more than one, which ncnn does not know, and for
        whatever ncnn has no operator for that computes exactly the same.
        """
        try:
            names = algorithms(translate(layer).operators)
        except UnsupportedError:
            return ()
        return tuple(
            Primitive(engine=self.name, algorithm=name, precision=Precision.FP32, family=self.name)
            for name in names
        )

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a network; weights stay in the graph's file, linked beside it, where they can.

        Raises:
            BuildError: A layer cannot be expressed, or not with the algorithm asked for.
        """
        fragments = []
        for layer, choice in zip(segment.layers, segment.choices, strict=True):
            try:
                fragment = translate(layer)
            except UnsupportedError as error:
                raise BuildError(f"ncnn cannot run layer '{layer.name}': {error}") from error
            known = algorithms(fragment.operators)
            if choice.algorithm not in known or choice.precision is not Precision.FP32:
                raise BuildError(
                    f"layer '{layer.name}' cannot take {choice}",
                    hint=f"it can take: {', '.join(known)}",
                )
            fragments.append(fragment)
        files = write_network(segment, fragments, folder)
        return Artifact(file=files[0], files=tuple(files), options={})
