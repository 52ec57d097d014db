import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsdnn.agents.exact.relaxation import relax
from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Walk
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space
from qsdnn_envs.synthetic import instance


def series_parallel(layers: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """A single arc, subdivided and doubled at random."""
    arcs = [(0.0, 1.0)]
    while len({end for arc in arcs for end in arc}) < layers:
        start, end = arcs[rng.integers(len(arcs))]
        middle = float(rng.uniform(start, end))
        if rng.random() < 0.5:
            arcs.remove((start, end))
        arcs += [(start, middle), (middle, end)]
    place = {end: i for i, end in enumerate(sorted({end for arc in arcs for end in arc}))}
    return sorted({(place[start], place[end]) for start, end in arcs})


def irregular(layers: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    share = rng.uniform(0.2, 1.0)
    return [(p, c) for c in range(layers) for p in range(c) if rng.random() < share]


def drawn(
    seed: int, graph: Callable[[int, np.random.Generator], list[tuple[int, int]]]
) -> CostModel:
    """A small cost model: tensors with many readers, forbidden primitives, free crossings, ties.

    In half of them some domains have a layout in common, or one of two.
    """
    rng = np.random.default_rng(seed)
    layers, primitives = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    domains = rng.integers(rng.integers(1, primitives + 1), size=primitives)
    edges = []
    arcs = graph(layers, rng)
    for producer in range(layers):
        by = tuple(c for p, c in arcs if p == producer)
        edges += [Edge(producer=producer, consumers=by, size_bytes=4)] if by else []
        if by and rng.random() < 0.2:  # some layers make two tensors
            edges.append(Edge(producer=producer, consumers=by[-1:], size_bytes=4))
    mask = rng.random((layers, primitives)) < rng.uniform(0.4, 1.0)
    mask[np.arange(layers), rng.integers(primitives, size=layers)] = True
    kinds = [("nchw16c",), ("nchw16c",), (), ("nchw8c",)] if seed % 2 else [()]
    layouts = np.random.default_rng([seed, 1]).integers(len(kinds), size=primitives)
    space = Space(
        layers=tuple(f"layer{i}" for i in range(layers)),
        primitives=tuple(
            Primitive(
                engine=f"engine{f}",
                algorithm=f"a{i}",
                precision=Precision.FP32,
                family=f"f{f}",
                layouts=kinds[layouts[f]],
            )
            for i, f in enumerate(domains)
        ),
        mask=mask,
        edges=tuple(edges),
    )
    shape = (len(edges), len(space.labels))
    tables = [rng.exponential(size=(layers, primitives)), *rng.exponential(size=(2, *shape))]
    if rng.random() < 0.3:
        tables = [np.round(2 * table) / 2 for table in tables]  # ties, and crossings for nothing
    scale = rng.choice([0.0, 0.2, 1.0, 3.0])
    return CostModel(
        space=space,
        layer_ms=np.where(mask, tables[0], np.inf),
        leave_ms=scale * tables[1],
        enter_ms=scale * tables[2],
    )


def brute_force(cost: CostModel) -> np.ndarray:
    """The latencies of all plans, ascending."""
    permitted = [np.flatnonzero(row) for row in cost.space.mask]
    return np.sort([cost.predict(plan) for plan in itertools.product(*permitted)])


def check(cost: CostModel, exact: Exact | None = None) -> None:
    """The best plans of all, in order, and a bound that is the optimum."""
    policy = (exact or Exact()).learn(cost)
    every_ms = brute_force(cost)
    for plan in policy.candidates:
        cost.space.check(plan)
    assert policy.proven
    assert policy.bound_ms == policy.latency_ms == cost.predict(policy.choice)
    assert np.array_equal(policy.choice, policy.candidates[0])
    assert len({plan.tobytes() for plan in policy.candidates}) == len(policy.candidates)
    latencies_ms = [cost.predict(plan) for plan in policy.candidates]
    assert latencies_ms == pytest.approx(every_ms[: Exact().plans], rel=1e-9, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("graph", [series_parallel, irregular])
def test_its_plans_are_the_best_of_all(graph: Callable[..., list[tuple[int, int]]]) -> None:
    for seed in range(1000):
        check(drawn(seed, graph))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(("chain", "residual", "random")),
    st.integers(1, 5),
    st.integers(1, 4),
    st.floats(0.0, 3.0),
    st.floats(0.1, 1.0),
    st.integers(0, 2**32),
)
def test_its_plans_are_the_best_of_instances(
    topology: str, layers: int, domains: int, crossing: float, permitted: float, seed: int
) -> None:
    check(
        instance(
            topology,
            layers=layers,
            primitives=max(3, domains),
            domains=domains,
            crossing=crossing,
            permitted=permitted,
            seed=seed,
        )
    )


def test_crossings_may_be_negative() -> None:
    for seed in range(150):
        cost = drawn(seed, irregular)
        rng = np.random.default_rng(seed)
        check(
            replace(
                cost,
                leave_ms=cost.leave_ms - rng.uniform(0, 1, cost.leave_ms.shape),
                enter_ms=cost.enter_ms - rng.uniform(0, 1, cost.enter_ms.shape),
            )
        )


@pytest.mark.parametrize("graph", [series_parallel, irregular])
def test_the_bound_of_every_partial_plan_holds(
    graph: Callable[..., list[tuple[int, int]]],
) -> None:
    """Of no plan does the bound on the rest exceed what the rest costs, at any layer."""
    for seed in range(300):
        cost = drawn(seed, graph)
        walk, relaxation = Walk(cost=cost), relax(cost)
        permitted = [np.flatnonzero(row) for row in cost.space.mask]
        plans = np.array(list(itertools.islice(itertools.product(*permitted), 300)))
        frontier, so_far_ms = walk.start(len(plans)), np.zeros(len(plans))
        whole_ms = np.array([cost.predict(plan) for plan in plans])
        assert relaxation.lower_ms <= whole_ms.min() + 1e-9
        for layer, stop in enumerate(walk.stops):
            so_far_ms += walk.step(frontier, layer, plans[:, layer])
            ahead_ms = relaxation.ahead_ms(frontier, layer, stop)
            assert (so_far_ms + ahead_ms <= whole_ms + 1e-9).all()
        assert so_far_ms == pytest.approx(whole_ms)


@pytest.mark.slow
def test_without_room_it_says_so_and_bounds_what_it_missed() -> None:
    """Small sweeps of graphs too irregular for them; the full one tells the truth."""
    proven = []
    for seed in range(12):
        cost = instance("random", layers=60, primitives=12, domains=12, crossing=1.0, seed=seed)
        truth, cramped = Exact().learn(cost), Exact(max_reads=60 * 100).learn(cost)
        assert truth.proven
        rounding_ms = 1e-9 * truth.latency_ms
        assert cramped.bound_ms - rounding_ms <= truth.latency_ms <= cramped.latency_ms
        assert cramped.bound_ms > 0.98 * truth.latency_ms
        assert cramped.proven == (cramped.bound_ms == cramped.latency_ms)
        proven.append(cramped.proven)
    assert not all(proven)


def test_one_plan_is_enough_where_only_one_is_wanted() -> None:
    cost = instance("inception", layers=40, seed=3)
    alone, several = Exact(plans=1).learn(cost), Exact(plans=5).learn(cost)
    assert len(alone.candidates) == 1 and len(several.candidates) == 5
    assert np.array_equal(alone.choice, several.choice)


def test_wide_graphs_are_proven() -> None:
    """A dense block: each layer reads the eleven before it."""
    layers, reach = 60, 12
    cost = instance("random", layers=layers, domains=8, crossing=1.0, seed=2)
    space = cost.space
    edges = tuple(
        Edge(producer=p, consumers=tuple(range(p + 1, min(p + reach, layers))), size_bytes=4)
        for p in range(layers - 1)
    )
    rng = np.random.default_rng(0)
    dense = CostModel(
        space=replace(space, edges=edges),
        layer_ms=cost.layer_ms,
        leave_ms=rng.exponential(0.3, (layers - 1, 8)),
        enter_ms=rng.exponential(0.3, (layers - 1, 8)),
    )
    assert Walk(cost=dense).slots == reach - 1
    assert Exact().learn(dense).proven


def test_it_is_linear_in_the_layers() -> None:
    """Thousands of layers, where nothing may be exponential or quadratic."""
    policy = Exact().learn(instance("residual", layers=3000, crossing=0.5, seed=2))
    assert policy.proven and policy.choice.shape == (3001,)
