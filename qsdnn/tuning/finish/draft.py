"""The drafts by which a measured plan becomes the content of a plan file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qsdnn.board import BoardInfo
from qsdnn.model.calibration import Calibration
from qsdnn.model.layer import Graph
from qsdnn.plan import Accuracy, Baseline, Choice, Model, Plan
from qsdnn.primitive import Precision
from qsdnn.space import Space
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.finish.final import Standing
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.trial import Profile, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The content of a plan besides what was chosen and measured.

    Attributes:
        config: The settings of the search.
        graph: The network.
        info: The description of the board.
        space: The search space: the layers and what each may run as.
        profile: The profile of the uniform plans.
        constraint: The constraint that plans must keep.
        calibration: The ranges of the network's tensors; None where all is in floats.
    """

    config: SearchConfig
    graph: Graph = field(repr=False)
    info: BoardInfo
    space: Space = field(repr=False)
    profile: Profile = field(repr=False)
    constraint: Constraint = field(repr=False)
    calibration: Calibration | None = field(default=None, repr=False)

    def plan(
        self,
        trial: Trial,
        predicted_ms: float,
        *,
        interim: bool = False,
        standings: Sequence[Standing] = (),
    ) -> Plan:
        """The plan of a trial.

        Args:
            trial: The trial, which ended well.
            predicted_ms: The latency that the cost model predicts.
            interim: Whether the plan is written while the search goes on: see `qsdnn.plan.Plan`.
            standings: The standings of the final: what uniform plans took beside the winner.
        """
        record = trial.record
        chosen = [self.space.primitives[p] for p in trial.choice]
        precisions = {primitive.precision for primitive in chosen}
        kernels = {index: applied.kernel for index, applied in record.applied.items()}
        return Plan(
            model=Model(
                path=str(self.config.model), sha256=self.graph.sha256, shapes=self.config.shapes
            ),
            board={"name": self.info.name, "fingerprint": self.info.fingerprint},
            engines={p.engine: self.info.engines[p.engine].version for p in sorted(set(chosen))},
            threads=self.config.threads,
            layers=tuple(
                Choice(name=name, primitive=str(primitive), kernel=kernels.get(index, ""))
                for index, (name, primitive) in enumerate(
                    zip(self.space.layers, chosen, strict=True)
                )
            ),
            predicted_ms=predicted_ms,
            measured_ms=record.latency_ms,
            ci95_ms=record.ci95_ms,
            trust=record.trust.value,
            baselines=self._baselines(standings),
            accuracy=self._accuracy(trial, final=not interim),
            seed=self.config.seed,
            command=self.config.command,
            peak_memory_mb=record.peak_memory_mb,
            calibration=self.calibration if Precision.INT8 in precisions else None,
            interim=interim,
        )

    def _accuracy(self, trial: Trial, *, final: bool) -> Accuracy:
        claim, error = self.constraint.claim(trial.choice, final=final), trial.record.max_error
        if claim is None or self.config.accuracy is None:
            return Accuracy(metric="max_relative_error", reference=0.0, plan=error, drop=error)
        return Accuracy(
            metric=claim.metric,
            reference=claim.reference,
            plan=claim.plan,
            drop=claim.drop,
            sqnr_db=claim.sqnr_db,
            samples=claim.samples,
            budget=str(self.config.accuracy.loss_limit),
        )

    def _baselines(self, standings: Sequence[Standing]) -> tuple[Baseline, ...]:
        """The uniform plans; those in the final with the latency measured in it."""
        final_ms = {standing.name: standing.record.latency_ms for standing in standings}
        looks_ms = {
            name: trial.record.latency_ms
            for name, trial in self.profile.trials.items()
            if trial.record.runs_ms
        }
        return tuple(
            Baseline(
                name=name,
                measured_ms=final_ms.get(name, looks_ms.get(name)),
                feasible=self._is_feasible(trial),
            )
            for name, trial in self.profile.trials.items()
        )

    def _is_feasible(self, trial: Trial) -> bool | None:
        if not trial.ok:
            return False
        if not self.constraint.is_known(trial.choice):  # there was no time to evaluate it
            return None
        return self.constraint.admits([trial.choice])[0]
