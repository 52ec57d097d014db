"""The segments and artifacts that an engine's host half builds, and their tensors' layouts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Graph, Layer, Tensor
from qsdnn.model.opset import USUAL, Versions
from qsdnn.primitive import Primitive

_TOLD = "layout:"
_BLOCKED = re.compile(r"nchw([1-9]\d*)c")


def told_layouts(capabilities: Sequence[str]) -> tuple[str, ...]:
    """The layouts that an engine says it takes and gives on a board: ``layout:nchw16c``.

    Capabilities that name no layout known here are left out.
    """
    words = [word[len(_TOLD) :] for word in capabilities if word.startswith(_TOLD)]
    return tuple(word for word in words if _BLOCKED.fullmatch(word))


def block_of(layout: str) -> int:
    """The number of channels in a block of a layout.

    Raises:
        ValueError: The name is no layout.
    """
    match = _BLOCKED.fullmatch(layout)
    if match is None:
        raise ValueError(f"'{layout}' is no layout")
    return int(match[1])


def fits(layout: str, tensor: Tensor) -> bool:
    """Whether a tensor has this layout without padding: an image of whole blocks, in fp32."""
    shape = tensor.shape
    return (
        tensor.dtype == "float32"
        and shape is not None
        and len(shape) == 4
        and min(shape) > 0
        and shape[1] % block_of(layout) == 0
    )


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
            see `qsdnn.model.segment`. The engine said that it takes and gives them so.
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
