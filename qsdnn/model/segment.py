"""Segments, which an engine's host half builds artifacts of: a choice is cut into the fewest.

A sequence of segments is legal when each reads only what earlier ones made. Every such sequence is
a chain of downsets ∅ = S₀ ⊂ S₁ ⊂ … of the layer graph in which Sᵢ₊₁ − Sᵢ is of one family; the
difference of two downsets is convex and the chain orders the segments, so there is no cycle
whatever the choice.

For a given sequence of families it never pays to take less than all that can run: a larger downset
stays larger under the same continuation. The fewest segments are therefore a shortest path over
downsets whose steps are "run all of family f that can run", found breadth first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Mapping, Sequence
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


BEAM = 256
"""The downsets kept a step. Real networks stay far below it; past it the result is near-fewest."""


def partition(
    predecessors: Sequence[Sequence[int]], families: Sequence[Hashable]
) -> list[tuple[int, ...]]:
    """Groups layers into the fewest convex segments of one family each.

    Args:
        predecessors: The indices of the layers that each layer reads, all smaller than its own.
        families: The family of each layer.

    Returns:
        The segments in execution order; each holds ascending layer indices.
    """
    count = len(families)
    everything = (1 << count) - 1
    needs = [sum(1 << p for p in set(before)) for before in predecessors]
    level: dict[int, tuple[int, ...]] = {0: ()}
    while everything not in level:
        reached: dict[int, tuple[int, ...]] = {}
        for done, path in level.items():
            for grown in _steps(done, needs, families):
                reached.setdefault(grown, (*path, done))
        level = _undominated(reached)
    chain = (*level[everything], everything)
    return [_members(after & ~before) for before, after in itertools.pairwise(chain)]


def _steps(done: int, needs: Sequence[int], families: Sequence[Hashable]) -> list[int]:
    """The downsets one segment further: one for each family that has a layer ready."""
    start = (~done & (done + 1)).bit_length() - 1  # all layers below it are done
    ready = [i for i in range(start, len(needs)) if not done >> i & 1 and needs[i] & ~done == 0]
    grown = []
    for family in dict.fromkeys(families[i] for i in ready):
        reach = done
        for i in range(start, len(needs)):
            if families[i] == family and not reach >> i & 1 and needs[i] & ~reach == 0:
                reach |= 1 << i
        grown.append(reach)
    return grown


def _undominated(reached: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Drops every downset that is part of another: the larger one is never worse."""
    kept: dict[int, tuple[int, ...]] = {}
    for done in sorted(reached, key=int.bit_count, reverse=True):
        if len(kept) == BEAM:
            break
        if not any(done & ~larger == 0 for larger in kept):
            kept[done] = reached[done]
    return kept


def _members(bits: int) -> tuple[int, ...]:
    return tuple(i for i in range(bits.bit_length()) if bits >> i & 1)
