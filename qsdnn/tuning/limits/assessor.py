"""Assessment: what a plan loses of a network's accuracy, evaluated on the board.

The user's samples are split once. One half calibrates integers and chooses between plans; the other
half is looked at only to decide about what was chosen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.data import read_inputs
from qsdnn.accuracy.inputs import Inputs, halves
from qsdnn.accuracy.loss import AccuracyConfig, Loss
from qsdnn.accuracy.metric import DB_LIMIT
from qsdnn.accuracy.noise import Question, noise_of, questions
from qsdnn.board import Board, Package
from qsdnn.listener import Listener
from qsdnn.measure.evaluator import Evaluator
from qsdnn.model.calibration import Calibration, load_calibrator
from qsdnn.model.layer import Graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Primitive
from qsdnn.space import Space
from qsdnn.store import Store
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.limits.constraint import AccuracyLimit
from qsdnn.tuning.stopwatch import Part, Stopwatch
from qsdnn.tuning.trial import Profile

MOST_CALIBRATING, SKETCH, MOST_ANALYZING = 256, 16, 256
"""The number of samples that calibrate at the most; that tell a search the noise of a layer alone;
and that an analysis asks about layers at the most: for a metric 16 are too few."""

AT_ONCE, FEW = 8, 4
"""The number of layers that are asked about in one round trip, and of uniform plans."""

SHARE = 0.4
"""The share of the time left beside the final that is spent on asking about layers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The samples of the user, split in two.

    Attributes:
        choosing: The half that calibrates, and chooses between plans.
        deciding: The half that decides about what was chosen.
    """

    choosing: Inputs
    deciding: Inputs


def read_samples(config: AccuracyConfig, graph: Graph, seed: int) -> Samples:
    """Reads the user's samples, and splits them.

    Raises:
        InputError: The samples are not usable, or too few.
    """
    choosing, deciding = halves(read_inputs(config.calibration, graph, config.labels), seed)
    return Samples(choosing=choosing, deciding=deciding)


def calibrate(config: AccuracyConfig, graph: Graph, samples: Samples) -> Calibration:
    """The ranges of the network's tensors on the choosing half, at most `MOST_CALIBRATING`."""
    some = _first(samples.choosing, MOST_CALIBRATING)
    return load_calibrator(config.method).calibrate(graph, some.arrays)


def _first(inputs: Inputs, count: int) -> Inputs:
    batch = max(inputs.batch, 1)
    return inputs.take(np.arange(min(inputs.samples, -(-count // batch) * batch)))


class Assessor:
    """An evaluator of plans of one network.

    Args:
        config: The settings of accuracy.
        samples: The samples of the user.
        builder: The builder of the network's packages.
        board: The board, already started.
        store: The store that keeps what was evaluated.
        listener: The listener that is told of what ends badly, and of progress.
        stopwatch: The stopwatch of the search; None where nobody asks.
    """

    def __init__(
        self,
        config: AccuracyConfig,
        samples: Samples,
        builder: Builder,
        board: Board,
        store: Store,
        listener: Listener,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.config = config
        self._builder = builder
        self._listener = listener
        self._stopwatch = stopwatch or Stopwatch()
        judge = config.judge()
        few = [_first(samples.choosing, count) for count in (SKETCH, MOST_ANALYZING)]
        self._choosing, self._deciding, self._sketch, self._analyzing = (
            Evaluator(
                board, store, builder.reference, inputs, judge, builder.threads, listener.note
            )
            for inputs in (samples.choosing, samples.deciding, *few)
        )

    def check(self) -> float:
        """Scores fp32, so that what is wrong with a metric shows before anything is measured.

        Returns:
            The wall time in seconds.

        Raises:
            InputError: The metric cannot score these samples.
        """
        start_s = time.monotonic()
        with self._stopwatch.part(Part.EVALUATING):
            loss = self._choosing.loss_of_fp32(self._listener.status)
        limit = self.config.loss_limit
        useless = replace(loss, plan=0.0, drop=loss.reference, sqnr_db=math.inf)
        if limit.max_drop is not None and limit.allows(useless):
            self._listener.note(
                f"{limit} allows any loss: {loss.metric} is {loss.reference:.4g} in fp32; "
                "a share is written as 1%"
            )
        return time.monotonic() - start_s

    def limit(self, space: Space, measured: Profile, budget: Budget) -> AccuracyLimit:
        """The constraint of a search: uniform plans and layers alone are evaluated first.

        Args:
            space: The search space: the layers and what each may run as.
            measured: The profile of the uniform plans. The fastest are evaluated first; the others
                while there is time, or no plan was found that may be chosen.
            budget: The budget of the search, without what must follow.
        """
        limit = AccuracyLimit(
            space=space,
            loss_limit=self.config.loss_limit,
            choosing=lambda plans: self.choosing(space, plans),
            deciding=lambda plans: self.deciding(space, plans),
            alone=np.full(space.mask.shape, np.nan),
        )
        plans, admitted = [trial.choice for trial in measured.best], False
        while plans and not (admitted and budget.left_s <= 0):
            some, plans = plans[:FEW], plans[FEW:]
            admitted |= any(limit.admits(some))
        asked = questions(space, measured.layer_ms)
        until_s = time.monotonic() + SHARE * max(0.0, budget.left_s)
        return replace(limit, alone=self.layers_alone(space, asked, until_s))

    def layers_alone(
        self, space: Space, asked: Sequence[Question], until_s: float = math.inf
    ) -> NDArray[np.float64]:
        """The noise of each layer alone (layers, primitives); NaN where it was not asked.

        Args:
            space: The search space: the layers and what each may run as.
            asked: The questions, asked in this order.
            until_s: The time by `time.monotonic` at which to leave the rest.
        """
        alone = np.full(space.mask.shape, np.nan)
        self._listener.phase("Asking what each layer loses", len(asked))
        for start in range(0, len(asked), AT_ONCE):
            if time.monotonic() > until_s:
                break
            some = asked[start : start + AT_ONCE]
            found = self._evaluate(self._sketch, space, [question.plan for question in some])
            for question, loss in zip(some, found, strict=True):
                if loss is not None:
                    alone[question.layer, question.primitive] = noise_of(loss.sqnr_db)
                self._listener.step()
        return alone

    def analyze(
        self, what: str, builder: Builder, plans: Sequence[Sequence[Primitive]]
    ) -> list[Loss]:
        """The losses of plans on the samples of an analysis, a few plans at a time.

        A plan that does not run loses everything.

        Args:
            what: The name of the phase, for people.
            builder: The builder of the network's packages; not always that of a search.
            plans: The plans, each as the primitive of each layer.
        """
        self._listener.phase(what, len(plans))
        found: list[Loss] = []
        for start in range(0, len(plans), AT_ONCE):
            packages = [builder.build(plan) for plan in plans[start : start + AT_ONCE]]
            losses = self._losses(self._analyzing, packages)
            found += [_ALL_IS_LOST if loss is None else loss for loss in losses]
            for _ in packages:
                self._listener.step()
        return found

    def choosing(self, space: Space, plans: Sequence[NDArray[np.int64]]) -> list[Loss | None]:
        """The losses of plans on the choosing half; None for a plan that does not run."""
        return self._evaluate(self._choosing, space, plans)

    def deciding(self, space: Space, plans: Sequence[NDArray[np.int64]]) -> list[Loss | None]:
        """The losses of plans on the deciding half; None for a plan that does not run."""
        return self._evaluate(self._deciding, space, plans)

    def _evaluate(
        self, evaluator: Evaluator, space: Space, plans: Sequence[NDArray[np.int64]]
    ) -> list[Loss | None]:
        packages = [self._builder.build([space.primitives[p] for p in plan]) for plan in plans]
        return self._losses(evaluator, packages)

    def _losses(self, evaluator: Evaluator, packages: Sequence[Package]) -> list[Loss | None]:
        """The losses of packages; None for one that does not run."""
        found = []
        with self._stopwatch.part(Part.EVALUATING):
            assessments = evaluator.evaluate(packages, self._listener.status)
        for assessment in assessments:
            if assessment.loss is None:
                self._listener.note(f"a plan cannot be evaluated: {assessment.error}")
            found.append(assessment.loss)
        return found


_ALL_IS_LOST = Loss(
    metric="", reference=0.0, plan=-math.inf, drop=math.inf, sqnr_db=-DB_LIMIT, samples=0
)
