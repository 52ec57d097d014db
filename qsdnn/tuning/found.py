"""The findings of a search."""

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
    """The findings of a search.

    Attributes:
        config: The settings of the search.
        graph: The network; its weights file is gone.
        cost: The last cost model, and the space in it.
        predicted_ms: The latency of the winner by the last cost model, as the plan is cut.
        profile: The profile of the uniform plans.
        plan: The plan that is written.
        front: The plans that no other beats in latency, accuracy and memory; empty where they were
            not asked for.
        learning: The record of what the agent did.
        prior_networks: The number of networks whose searches told this one what to expect.
        spared: The primitives that were not measured: those searches had shown them to be slow.
        mixed_plans: The number of mixed plans that were measured.
        group_s: The wall time of a group of mixed plans.
        final: The outcome of the final: the plan that won, verified.
        measurer: The measurer, which knows what was measured, and where.
        wall_s: The wall time of the whole search, without the time the board was waited for.
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
