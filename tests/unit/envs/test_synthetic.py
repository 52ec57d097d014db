import numpy as np
import pytest

from qsdnn.errors import InputError
from qsdnn_envs.synthetic import instance
from qsdnn_envs.topology import TOPOLOGIES


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
