"""Studies: what layers would lose, and save, in an arithmetic that no engine has.

Each layer with weights alone, at each width, the others in fp32; then all of them together. See
`qsdnn.accuracy.simulator`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsdnn.accuracy.budget import Accuracy
from qsdnn.board import Board
from qsdnn.errors import InputError
from qsdnn.model.layer import Graph
from qsdnn.quantize.sensitivity import assessor_of
from qsdnn.tuning.config import SearchConfig
from qsdnn.listener import Listener
from qsdnn.tuning.prepare import prepare
from qsdnn.quantize.simulate import Simulation
from qsdnn.accuracy.simulator import Part, Rounding
from qsdnn.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedLoss:
    """Rounded layers, the others in fp32.

    Attributes:
        layer: Name of the only one; ``"all"`` of them together.
        kind: What it computes; empty for all.
        part: Which of its values are rounded.
        bits: To so many.
        form: What was chosen for it; empty for all.
        size_bytes: Of the rounded layers' weights.
        saved_bytes: What these take less than in fp32.
        sqnr_db: Of the network's outputs.
        drop: What the metric loses.
    """

    layer: str
    kind: str
    part: str
    bits: int
    form: str
    size_bytes: int
    saved_bytes: int
    sqnr_db: float
    drop: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was found.

    Attributes:
        arithmetic: What was simulated.
        metric: Its name.
        reference: What fp32 has.
        samples: On how many.
        layers: Each alone, in the order of the network, the widest first.
        together: All at once, for each part and width.
    """

    arithmetic: str
    metric: str
    reference: float
    samples: int
    layers: tuple[RoundedLoss, ...]
    together: tuple[RoundedLoss, ...]


def study(
    config: SearchConfig,
    arithmetic: str,
    widths: Sequence[int],
    board: Board,
    store: Store,
    listener: Listener,
) -> Study:
    """Evaluates rounded layers, each alone, then all.

    Args:
        config: A search's; its `accuracy` says on which data.
        arithmetic: Name of a simulator.
        widths: Bits of a value.
        board: Started.
        store: Where all that was evaluated is found again.
        listener: Told of progress.

    Raises:
        InputError: There is no such simulator, or no layer that it rounds.
    """
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        prepared = prepare(config, board, store, listener, Path(scratch))
        assessor = assessor_of(prepared, board, store, listener)
        simulation = Simulation(arithmetic, prepared, Path(scratch))
        graph = prepared.graph
        alone = [
            {layer.index: rounding}
            for layer in graph.layers
            for bits in sorted(widths, reverse=True)
            for rounding in simulation.roundings(layer.index, bits)
        ]
        if not alone:
            raise InputError(f"{graph.path}: no layer has weights that {arithmetic} could round")
        together = _together(alone)
        plans = [simulation.plan(rounded) for rounded in (*together, *alone)]
        losses = assessor.analyze(f"Asking what {arithmetic} loses", simulation.builder, plans)
        told = max(losses, key=lambda accuracy: accuracy.samples)  # 0 where a plan did not run
        rows = [
            _row(graph, rounded, accuracy)
            for rounded, accuracy in zip((*together, *alone), losses, strict=True)
        ]
        return Study(
            arithmetic=arithmetic,
            metric=told.metric,
            reference=told.reference,
            samples=told.samples,
            layers=tuple(rows[len(together) :]),
            together=tuple(rows[: len(together)]),
        )


Rounded = Mapping[int, Rounding]


def _together(alone: Sequence[Rounded]) -> list[Rounded]:
    """For each part and width all layers that can take it."""
    groups: dict[tuple[Part, int], dict[int, Rounding]] = {}
    for rounded in alone:
        for layer, rounding in rounded.items():
            groups.setdefault((rounding.part, rounding.bits), {})[layer] = rounding
    return list(groups.values())


def _row(graph: Graph, rounded: Rounded, accuracy: Accuracy) -> RoundedLoss:
    layers = [graph.layers[index] for index in rounded]
    roundings = list(rounded.values())
    single = len(layers) == 1
    return RoundedLoss(
        layer=layers[0].name if single else "all",
        kind=str(layers[0].kind) if single else "",
        part=str(roundings[0].part),
        bits=roundings[0].bits,
        form=roundings[0].form if single else "",
        size_bytes=sum(rounding.size_bytes for rounding in roundings),
        saved_bytes=sum(rounding.fp32_bytes - rounding.size_bytes for rounding in roundings),
        sqnr_db=accuracy.sqnr_db,
        drop=accuracy.drop,
    )
