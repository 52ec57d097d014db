"""Analysis: what each layer loses in less than fp32, and what time that saves."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qsdnn.accuracy.loss import Loss
from qsdnn.accuracy.noise import Question, noise_of, questions, sqnr_db_of
from qsdnn.board import Board
from qsdnn.errors import InputError
from qsdnn.listener import Listener
from qsdnn.model.layer import Graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision, Primitive
from qsdnn.quantize.simulator import Part, Simulation
from qsdnn.space import Space
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.limits.assessor import Assessor
from qsdnn.tuning.prepare import Prepared, prepare
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

GROUPS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""The shares of layers that are lowered together, those first that save most for their noise."""

INT8_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoss:
    """One layer in less than fp32, all others in fp32.

    Attributes:
        layer: The name of the layer.
        kind: The kind of the layer, e.g. ``"conv"``.
        primitive: The name of the primitive that the layer ran as.
        sqnr_db: The SQNR of the network's outputs in dB.
        drop: The loss of the metric.
        weights_sqnr_db: The SQNR in int8, were only the layer's weights rounded; None where it has
            none, or where that is not told apart. Simulated, as onnxruntime and OpenVINO round.
        weights_drop: The loss of the metric in that case; None in the same cases.
        activations_sqnr_db: The SQNR in int8, were only what the layer reads and makes rounded;
            None where that is not told apart.
        activations_drop: The loss of the metric in that case; None in the same cases.
        saved_ms: The time that the layer itself saves against fp32, as profiled; None where
            unknown.
    """

    layer: str
    kind: str
    primitive: str
    sqnr_db: float
    drop: float
    weights_sqnr_db: float | None
    weights_drop: float | None
    activations_sqnr_db: float | None
    activations_drop: float | None
    saved_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLoss:
    """Several layers in less than fp32 together.

    Attributes:
        engine: The name of the engine that ran the layers.
        precision: The precision that the layers ran in.
        layers: The number of layers.
        predicted_db: The SQNR predicted from the sum of what the layers lose alone.
        saved_ms: The sum of the time that the layers save alone, where that is known.
        accuracy: The accuracy of the layers together, as evaluated.
    """

    engine: str
    precision: str
    layers: int
    predicted_db: float
    saved_ms: float
    accuracy: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """The result of an analysis.

    Attributes:
        metric: The name of the metric.
        reference: The score of fp32.
        samples: The number of samples that were evaluated.
        layers: The losses of single layers, in the order of the network.
        groups: The losses of groups, by engine and precision, the smallest group first.
    """

    metric: str
    reference: float
    samples: int
    layers: tuple[LayerLoss, ...]
    groups: tuple[GroupLoss, ...]


def analyze(config: SearchConfig, board: Board, store: Store, listener: Listener) -> Analysis:
    """Evaluates each layer alone, its weights and activations apart, then groups of layers.

    Args:
        config: The settings of a search; its `accuracy` says on which data.
        board: The board, already started.
        store: The store in which all that was measured and evaluated is found again.
        listener: The listener that is told of progress.

    Raises:
        InputError: No engine of the board computes in less than fp32 here.
    """
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        prepared = prepare(config, board, store, listener, Path(scratch))
        assessor = assessor_of(prepared, board, store, listener)
        bench, graph = prepared.bench, prepared.graph
        listener.phase("Profiling", 0)
        space, measured = usable(bench.space, race(bench))
        asked = questions(space, measured.layer_ms)
        if not asked:
            raise InputError(
                "no layer can be computed in less than fp32 by the engines of this board",
                hint="name others: --engines onnxruntime,openvino",
            )
        plans = [[space.primitives[p] for p in question.plan] for question in asked]
        whole = assessor.analyze("Asking what each layer loses", bench.builder, plans)
        apart = {}
        lowered = {q.layer for q in asked if _precision(space, q) is Precision.INT8}
        if lowered:
            simulation = Simulation("int8", prepared, Path(scratch))
            apart = _apart(simulation, assessor, sorted(lowered))
        groups = _groups(space, asked, whole, assessor, bench.builder)
        told = max(whole, key=lambda loss: loss.samples)  # 0 where a plan did not run
        return Analysis(
            metric=told.metric,
            reference=told.reference,
            samples=told.samples,
            layers=tuple(_rows(graph, space, asked, whole, apart)),
            groups=tuple(groups),
        )


def assessor_of(prepared: Prepared, board: Board, store: Store, listener: Listener) -> Assessor:
    """The assessor of what an analysis asks.

    Raises:
        InputError: There is no data to evaluate.
    """
    config, samples = prepared.bench.config.accuracy, prepared.samples
    if config is None or samples is None:
        raise InputError("there is no data to analyze with", hint="add --calibration FILE.npz")
    return Assessor(config, samples, prepared.bench.builder, board, store, listener)


Apart = dict[int, dict[Part, Loss]]
"""The losses of plans with a part of one layer rounded to int8, by layer and part."""


def _apart(simulation: Simulation, assessor: Assessor, layers: Sequence[int]) -> Apart:
    """The losses of the weights and the activations of layers, each alone."""
    rounded = [
        (layer, rounding) for layer in layers for rounding in simulation.roundings(layer, INT8_BITS)
    ]
    plans = [simulation.plan({layer: rounding}) for layer, rounding in rounded]
    losses = assessor.analyze("Asking for weights and activations", simulation.builder, plans)
    apart: Apart = {}
    for (layer, rounding), loss in zip(rounded, losses, strict=True):
        apart.setdefault(layer, {})[rounding.part] = loss
    return apart


def _rows(
    graph: Graph,
    space: Space,
    asked: Sequence[Question],
    whole: Sequence[Loss],
    apart: Apart,
) -> list[LayerLoss]:
    rows = []
    pairs = sorted(zip(asked, whole, strict=True), key=lambda p: (p[0].layer, p[0].primitive))
    for question, loss in pairs:
        layer = graph.layers[question.layer]
        parts = apart.get(layer.index, {}) if _precision(space, question) is Precision.INT8 else {}
        weights, activations = parts.get(Part.WEIGHTS), parts.get(Part.ACTIVATIONS)
        rows.append(
            LayerLoss(
                layer=layer.name,
                kind=str(layer.kind),
                primitive=str(space.primitives[question.primitive]),
                sqnr_db=loss.sqnr_db,
                drop=loss.drop,
                weights_sqnr_db=weights.sqnr_db if weights else None,
                weights_drop=weights.drop if weights else None,
                activations_sqnr_db=activations.sqnr_db if activations else None,
                activations_drop=activations.drop if activations else None,
                saved_ms=None if math.isnan(question.saved_ms) else question.saved_ms,
            )
        )
    return rows


def _precision(space: Space, question: Question) -> Precision:
    return space.primitives[question.primitive].precision


def _groups(
    space: Space,
    asked: Sequence[Question],
    whole: Sequence[Loss],
    assessor: Assessor,
    builder: Builder,
) -> list[GroupLoss]:
    """The best tenth of the layers, the best quarter and so on, for each engine and precision."""
    power = {
        (question.layer, question.primitive): noise_of(loss.sqnr_db)
        for question, loss in zip(asked, whole, strict=True)
    }

    def noise(question: Question) -> float:
        return power[question.layer, question.primitive]

    def saved_ms(question: Question) -> float:
        return 0.0 if math.isnan(question.saved_ms) else question.saved_ms

    groups: list[list[Question]] = []
    for mine in _by_engine(space, asked):
        ranked = sorted(mine, key=lambda q: -saved_ms(q) / noise(q))
        sizes = sorted({max(1, round(share * len(ranked))) for share in GROUPS})
        groups += [ranked[:size] for size in sizes]
    plans = [_together(space, group) for group in groups]
    losses = assessor.analyze("Asking what groups lose", builder, plans)
    return [
        GroupLoss(
            engine=space.primitives[group[0].primitive].engine,
            precision=str(_precision(space, group[0])),
            layers=len(group),
            predicted_db=sqnr_db_of(sum(map(noise, group))),
            saved_ms=sum(map(saved_ms, group)),
            accuracy=loss,
        )
        for group, loss in zip(groups, losses, strict=True)
    ]


def _by_engine(space: Space, asked: Sequence[Question]) -> list[list[Question]]:
    """The questions of each engine and precision, in lists of their own."""
    found: dict[tuple[str, Precision], list[Question]] = {}
    for question in asked:
        engine = space.primitives[question.primitive].engine
        found.setdefault((engine, _precision(space, question)), []).append(question)
    return list(found.values())


def _together(space: Space, group: Sequence[Question]) -> list[Primitive]:
    plan = group[0].plan.copy()
    for question in group:
        plan[question.layer] = question.primitive
    return [space.primitives[p] for p in plan]
