import numpy as np
import pytest

from qsdnn.errors import InputError
from qsdnn_envs.synthetic import HELD_OUT, TOPOLOGIES, TUNING, drawn, instance


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_instances_are_well_formed_and_repeatable(topology: str) -> None:
    cost, again = (instance(topology, layers=40, permitted=0.3, seed=7) for _ in range(2))
    assert np.array_equal(cost.layer_ms, again.layer_ms) and cost.space.edges == again.space.edges
    assert cost.space.mask.any(axis=1).all()
    assert np.array_equal(np.isfinite(cost.layer_ms), cost.space.mask)
    assert cost.leave_ms.shape == cost.enter_ms.shape
    assert len(cost.leave_ms) == len(cost.space.edges)
    for edge in cost.space.edges:
        assert list(edge.consumers) == sorted(set(edge.consumers))
        assert edge.producer < edge.consumers[0] <= edge.consumers[-1] < len(cost.space.layers)


def test_an_unknown_topology_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'residual'"):
        instance("residuals", layers=4)


def test_drawn_instances_are_what_they_are_said_to_be() -> None:
    assert not set(HELD_OUT) & set(TUNING)
    branched = 0
    for seed in [*HELD_OUT[:20], *TUNING[:20]]:
        cost, again = drawn(seed), drawn(seed)
        assert np.array_equal(cost.layer_ms, again.layer_ms)
        layers, primitives = cost.space.mask.shape
        assert 10 <= layers <= 200 and 3 <= primitives <= 20
        assert 2 <= len(cost.space.domains) <= 8
        branched += any(len(edge.consumers) > 1 for edge in cost.space.edges)
    assert branched > 35


def test_series_parallel_wirings_reduce_to_one_edge() -> None:
    """What defines them: taking out layers with one reader each, and double edges, leaves one."""
    for seed in range(20):
        cost = instance("series-parallel", layers=50, seed=seed)
        assert len(cost.space.layers) == 50
        edges = {(e.producer, c) for e in cost.space.edges for c in e.consumers}
        while inside := [n for n in range(50) if degrees(edges, n) == (1, 1)]:
            before = next(a for a, b in edges if b == inside[0])
            after = next(b for a, b in edges if a == inside[0])
            edges = {edge for edge in edges if inside[0] not in edge} | {(before, after)}
        assert edges == {(0, 49)}


def degrees(edges: set[tuple[int, int]], layer: int) -> tuple[int, int]:
    return sum(a == layer for a, _ in edges), sum(b == layer for _, b in edges)
