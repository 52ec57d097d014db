"""Analysis: which layers lose what in less than fp32, and what that is worth."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qsdnn.accuracy.budget import Accuracy
from qsdnn.accuracy.noise import sqnr_db_of
from qsdnn.accuracy.sensitivity import Question, questions
from qsdnn.board import Board
from qsdnn.errors import InputError
from qsdnn.search.assessment import Assessor
from qsdnn.search.config import SearchConfig
from qsdnn.search.listener import Listener
from qsdnn.search.loop import prepare
from qsdnn.search.profile import profile, usable
from qsdnn.space import Space
from qsdnn.store import Store

GROUPS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the layers that are lowered together, those first that save most for their noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoss:
    """One layer in less than fp32, all others in fp32.

    Attributes:
        layer: Its name.
        kind: What it computes, e.g. ``"conv"``.
        primitive: What it ran as.
        sqnr_db: Of the network's outputs.
        saved_ms: What the layer itself takes less, as profiled; NaN where unknown.
    """

    layer: str
    kind: str
    primitive: str
    sqnr_db: float
    saved_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLoss:
    """Several layers in less than fp32 together.

    Attributes:
        engine: Whose.
        precision: What they ran in.
        layers: How many.
        predicted_db: SQNR by the sum of what they lose alone.
        saved_ms: Sum of what they save alone.
        accuracy: As evaluated.
    """

    engine: str
    precision: str
    layers: int
    predicted_db: float
    saved_ms: float
    accuracy: Accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What was found, layers in the order of the network."""

    layers: tuple[LayerLoss, ...]
    groups: tuple[GroupLoss, ...]


def analyze(config: SearchConfig, board: Board, store: Store, listener: Listener) -> Analysis:
    """Evaluates each layer alone, then groups of them.

    Args:
        config: A search's; its `accuracy` says on which data.
        board: Started.
        store: Where all that was measured and evaluated is found again.
        listener: Told of progress.

    Raises:
        InputError: No engine of the board computes in less than fp32 here.
    """
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        prepared = prepare(config, board, store, listener, Path(scratch))
        bench, graph = prepared.bench, prepared.graph
        if config.accuracy is None or prepared.samples is None:
            raise InputError("there is no data to analyze with", hint="add --calibration FILE.npz")
        listener.phase("Profiling", 0)
        space, measured = usable(bench.space, profile(bench))
        asked = questions(space, measured.layer_ms)
        if not asked:
            raise InputError(
                "no layer can be computed in less than fp32 by the engines of this board",
                hint="name others: --engines onnxruntime,openvino",
            )
        assessor = Assessor(
            config.accuracy, prepared.samples, bench.builder, board, store, listener
        )
        alone = assessor.layers_alone(space, asked)
        rows = [
            LayerLoss(
                layer=graph.layers[q.layer].name,
                kind=str(graph.layers[q.layer].kind),
                primitive=str(space.primitives[q.primitive]),
                sqnr_db=sqnr_db_of(float(alone[q.layer, q.primitive])),
                saved_ms=q.saved_ms,
            )
            for q in sorted(asked, key=lambda q: (q.layer, q.primitive))
        ]
        return Analysis(layers=tuple(rows), groups=tuple(_groups(space, asked, alone, assessor)))


def _groups(
    space: Space,
    asked: Sequence[Question],
    alone: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    assessor: Assessor,
) -> list[GroupLoss]:
    """For each engine and precision the best tenth of its layers, the best quarter and so on."""
    of: dict[tuple[str, str], list[Question]] = {}
    for question in asked:
        primitive = space.primitives[question.primitive]
        of.setdefault((primitive.engine, str(primitive.precision)), []).append(question)

    def noise(question: Question) -> float:
        return float(alone[question.layer, question.primitive])

    found = []
    for (engine, precision), mine in of.items():
        ranked = sorted(
            mine, key=lambda q: -(0.0 if math.isnan(q.saved_ms) else q.saved_ms) / noise(q)
        )
        sizes = sorted({max(1, round(share * len(ranked))) for share in GROUPS})
        plans = []
        for size in sizes:
            plan = ranked[0].plan.copy()
            for question in ranked[:size]:
                plan[question.layer] = question.primitive
            plans.append(plan)
        for size, accuracy in zip(sizes, assessor.choosing(space, plans), strict=True):
            some = ranked[:size]
            found.append(
                GroupLoss(
                    engine=engine,
                    precision=precision,
                    layers=size,
                    predicted_db=sqnr_db_of(sum(map(noise, some))),
                    saved_ms=sum(q.saved_ms for q in some),
                    accuracy=accuracy,
                )
            )
    return found
