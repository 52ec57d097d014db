"""The segments and artifacts: what an engine's host half builds."""

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
        family: The family of all primitives of the segment.
        layers: The layers, in topological order.
        choices: The primitive of each layer, aligned with `layers`.
        inputs: The tensors that the segment reads from outside.
        outputs: The tensors it makes that other segments, or the caller, read.
        graph: The network that the segment is cut from.
        calibration: The ranges of the network's tensors, for primitives that compute in integers;
            None where all is in floats.
        layouts: The layouts of those inputs and outputs that are not in ONNX's own order, by name:
            see `qsdnn.model.layout`. The engine said that it takes and gives them so.
        reads: The versions of ONNX that the segment may be written in.
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
        """The name of the engine that runs the segment."""
        return self.choices[0].engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The files that an engine's board half loads for one segment.

    Attributes:
        file: The name of the main file, relative to the folder it was built in.
        files: The names of all files that are needed, the main one included; flat and
            content-addressed (``<sha256 prefix><suffix>``), so that equal files are stored and sent
            once.
        options: The options for the board half, as JSON, e.g. which layer each node belongs to.
    """

    file: str
    files: tuple[str, ...]
    options: Mapping[str, Any]
