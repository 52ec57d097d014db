"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass, field

from qsdnn.cost.model import CostModel
from qsdnn.measure.measurer import Measurer
from qsdnn.model.layer import Graph
from qsdnn.plan import Plan
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.finish.final import Final
from qsdnn.tuning.finish.pareto import Point
from qsdnn.tuning.profile import Profile
from qsdnn.tuning.rounds.loop import Learning


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        config: What was asked.
        graph: The network; its weights file is gone.
        cost: The last cost model, and the space in it.
        predicted_ms: Latency of the winner by the last cost model, as the plan is cut.
        profile: The uniform plans.
        plan: What is written.
        front: Plans that no other beats in both latency and accuracy, if they were asked for.
        learning: What the agent did.
        prior_networks: Networks whose searches told this one what to expect.
        spared: Primitives that were not measured: those searches had shown them to be slow.
        mixed_plans: Mixed plans that were measured.
        group_s: Wall time of a group of them.
        final: The plan that won, verified.
        measurer: What was measured, and where.
        wall_s: How long it all took.
    """

    config: SearchConfig
    graph: Graph
    cost: CostModel
    predicted_ms: float
    profile: Profile = field(repr=False)
    plan: Plan = field(repr=False)
    front: tuple[tuple[Point, Plan], ...] = field(repr=False)
    learning: Learning
    prior_networks: int
    spared: tuple[str, ...]
    mixed_plans: int
    group_s: float
    final: Final
    measurer: Measurer = field(repr=False)
    wall_s: float
