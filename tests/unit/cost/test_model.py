"""The formula of the cost model, on plans counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qsdnn.cost.model import CostModel, read_cost, write_cost
from qsdnn.cost.walk import Walk
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Edge, Space


def primitive(domain: str, algorithm: str = "auto") -> Primitive:
    return Primitive(engine=domain, algorithm=algorithm, precision=Precision.FP32, family=domain)


@pytest.fixture
def cost() -> CostModel:
    """A tensor with three readers, and domains a (two primitives), b and c."""
    space = Space(
        layers=("stem", "left", "middle", "right"),
        primitives=(primitive("a"), primitive("a", "other"), primitive("b"), primitive("c")),
        mask=np.ones((4, 4), dtype=np.bool_),
        edges=(Edge(producer=0, consumers=(1, 2, 3), size_bytes=4),),
    )
    return CostModel(
        space=space,
        layer_ms=np.arange(16, dtype=np.float64).reshape(4, 4),
        leave_ms=np.array([[100.0, 200.0, 300.0]]),
        enter_ms=np.array([[1000.0, 2000.0, 3000.0]]),
    )


@pytest.mark.parametrize(
    ("choice", "crossing_ms"),
    [
        ((0, 0, 0, 0), 0),
        ((0, 1, 0, 1), 0),  # another primitive of the domain
        ((0, 2, 0, 0), 100 + 2000),
        ((0, 2, 0, 2), 100 + 2000),  # enters b once
        ((0, 2, 3, 1), 100 + 2000 + 3000),  # leaves a once
        ((3, 0, 1, 3), 300 + 1000),
    ],
)
def test_a_tensor_leaves_once_and_enters_each_domain_once(
    cost: CostModel, choice: tuple[int, ...], crossing_ms: float
) -> None:
    own_ms = sum(4 * layer + primitive for layer, primitive in enumerate(choice))
    assert cost.predict(choice) == own_ms + crossing_ms


def test_a_tensor_nobody_reads_costs_nothing(cost: CostModel) -> None:
    unread = Edge(producer=3, consumers=(), size_bytes=4)
    space = Space(
        layers=cost.space.layers,
        primitives=cost.space.primitives,
        mask=cost.space.mask,
        edges=(unread,),
    )
    alone = CostModel(
        space=space, layer_ms=cost.layer_ms, leave_ms=cost.leave_ms, enter_ms=cost.enter_ms
    )
    assert alone.predict((0, 2, 3, 0)) == 0 + 6 + 11 + 12


def test_what_stays_in_a_layout_is_not_converted(tmp_path: Path) -> None:
    """Domains a and b have a layout in common, which is label 3; c has one of its own."""
    domains = {"a": ("nchw16c",), "b": ("nchw16c",), "c": ("nchw8c",)}
    space = Space(
        layers=("stem", "left", "right"),
        primitives=tuple(replace(primitive(d), layouts=layouts) for d, layouts in domains.items()),
        mask=np.ones((3, 3), dtype=np.bool_),
        edges=(Edge(producer=0, consumers=(1, 2), size_bytes=4),),
    )
    assert space.labels == ("a", "b", "c", "nchw16c")
    cost = CostModel(
        space=space,
        layer_ms=np.zeros((3, 3)),
        leave_ms=np.array([[1.0, 2.0, 3.0, 50.0]]),
        enter_ms=np.array([[100.0, 200.0, 300.0, 5000.0]]),
    )
    wanted_ms = {
        (0, 0, 0): 0,
        (0, 1, 0): 1 + 200,
        (0, 1, 2): 1 + 200 + 300 + 50,  # for c it is converted
        (0, 2, 2): 1 + 300 + 50,
        (2, 0, 1): 3 + 100 + 200 + 5000,  # once for both
    }
    assert {choice: cost.predict(choice) for choice in wanted_ms} == wanted_ms
    write_cost(cost, tmp_path / "cost.npz")
    again = read_cost(tmp_path / "cost.npz")
    assert again.space.same_as(space) and again.space.labels == space.labels
    plans = np.array([*wanted_ms])
    assert Walk(cost=again).latency_ms(plans).tolist() == [*wanted_ms.values()]
