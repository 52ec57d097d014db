"""Segments and artifacts: what an engine's host half builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Graph, Layer
from qsdnn.model.versions import USUAL, Versions
from qsdnn.primitive import Primitive


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A convex set of layers of one family, run by one engine as one graph.

    Attributes:
        family: The family of all its primitives.
        layers: In topological order.
        choices: The primitive of each layer, aligned with `layers`.
        inputs: Tensors it reads from outside.
        outputs: Tensors it makes that other segments, or the caller, read.
        graph: The network it is cut from.
        calibration: What values its tensors take, for primitives that compute in integers.
        layouts: Those of its inputs and outputs that are not in ONNX's own order, by name: see
            `qsdnn.model.layout`. Its engine said that it takes and gives them so.
        reads: Versions of ONNX that it may be written in.
    """

    family: str
    layers: tuple[Layer, ...]
    choices: tuple[Primitive, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graph: Graph = field(repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    layouts: Mapping[str, str] = field(default_factory=dict)
    reads: Versions = USUAL

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.choices[0].engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What an engine's board half loads for one segment.

    Attributes:
        file: Name of the main file, relative to the folder it was built in.
        files: All files it needs, the main one included; flat names, content-addressed
            (``<sha256 prefix><suffix>``), so that equal ones are stored and sent once.
        options: JSON for the board half, e.g. which layer each node belongs to.
    """

    file: str
    files: tuple[str, ...]
    options: Mapping[str, Any]
