"""Drafts: a measured plan becomes a plan file's content."""

from __future__ import annotations

from dataclasses import dataclass, field

from qsdnn.board import BoardInfo
from qsdnn.plan import Accuracy, Baseline, Choice, Model, Plan
from qsdnn.search.config import SearchConfig
from qsdnn.search.profile import Profile
from qsdnn.search.trial import Trial
from qsdnn.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All that a plan says besides what was chosen and measured.

    Attributes:
        config: What was asked.
        sha256: Of the network.
        info: The board.
        space: What could be chosen.
        profile: The uniform plans.
    """

    config: SearchConfig
    sha256: str
    info: BoardInfo
    space: Space = field(repr=False)
    profile: Profile = field(repr=False)

    def plan(self, trial: Trial, predicted_ms: float, *, interim: bool = False) -> Plan:
        """The plan of a trial.

        Args:
            trial: Ended well.
            predicted_ms: By the cost model.
            interim: See `qsdnn.plan.Plan`.
        """
        record = trial.record
        chosen = [self.space.primitives[p] for p in trial.choice]
        kernels = {index: applied.kernel for index, applied in record.applied.items()}
        return Plan(
            model=Model(path=str(self.config.model), sha256=self.sha256, shapes=self.config.shapes),
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
            baselines=self._baselines(),
            accuracy=Accuracy(
                metric="max_relative_error",
                reference=0.0,
                plan=record.max_error,
                drop=record.max_error,
            ),
            seed=self.config.seed,
            command=self.config.command,
            interim=interim,
        )

    def _baselines(self) -> tuple[Baseline, ...]:
        return tuple(
            Baseline(
                name=name,
                measured_ms=trial.record.latency_ms if trial.record.runs_ms else None,
                feasible=trial.ok,
            )
            for name, trial in self.profile.trials.items()
        )
