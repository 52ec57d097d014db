"""Studies: what layers would lose, and save, in an arithmetic that no engine has.

Each layer with weights is rounded alone, at each width, the others in fp32; then all of them
together. See `qsdnn.quantize.simulator`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsdnn.accuracy.loss import Loss
from qsdnn.board import Board
from qsdnn.errors import InputError
from qsdnn.listener import Listener
from qsdnn.model.layer import Graph
from qsdnn.quantize.sensitivity import assessor_of
from qsdnn.quantize.simulator import Part, Rounding, Simulation
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedLoss:
    """The loss of rounded layers, the others in fp32.

    Attributes:
        layer: The name of the only rounded layer; ``"all"`` for all together.
        kind: The kind of the layer, e.g. ``"conv"``; empty for all.
        part: The values of the layers that are rounded: weights, activations or both.
        bits: The number of bits that the values are rounded to.
        form: The form that was chosen for the layer; empty for all.
        size_bytes: The size of the rounded layers' weights.
        saved_bytes: The size that the weights save against fp32.
        sqnr_db: The SQNR of the network's outputs in dB.
        drop: The loss of the metric.
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
    """The result of a study.

    Attributes:
        arithmetic: The name of the arithmetic that was simulated.
        metric: The name of the metric.
        reference: The score of fp32.
        samples: The number of samples that were evaluated.
        layers: The losses of each layer alone, in the order of the network, the widest first.
        together: The losses of all layers at once, for each part and width.
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
    """Evaluates rounded layers, each alone, then all of them together.

    Args:
        config: The settings of a search; its `accuracy` says on which data.
        arithmetic: The name of a simulator.
        widths: The numbers of bits of a value to try.
        board: The board, already started.
        store: The store in which all that was evaluated is found again.
        listener: The listener that is told of progress.

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
        told = max(losses, key=lambda loss: loss.samples)  # 0 where a plan did not run
        rows = [
            _row(graph, rounded, loss)
            for rounded, loss in zip((*together, *alone), losses, strict=True)
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
    """The layers that can be rounded together, for each part and width."""
    groups: dict[tuple[Part, int], dict[int, Rounding]] = {}
    for rounded in alone:
        for layer, rounding in rounded.items():
            groups.setdefault((rounding.part, rounding.bits), {})[layer] = rounding
    return list(groups.values())


def _row(graph: Graph, rounded: Rounded, loss: Loss) -> RoundedLoss:
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
        sqnr_db=loss.sqnr_db,
        drop=loss.drop,
    )
