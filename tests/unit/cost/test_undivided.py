"""Plans of one domain, which an agent on the cost model overrates."""

import numpy as np

from qsdnn.cost.model import CostModel, undivided
from qsdnn.primitive import Precision, Primitive
from qsdnn.space import Space


def test_the_fastest_of_each_domain_that_takes_all_layers():
    names = ("alpha/a", "alpha/b", "beta/a", "gamma/a")
    primitives = tuple(
        Primitive(
            engine=name.split("/")[0],
            algorithm=name.split("/")[1],
            precision=Precision.FP32,
            family=f"{name.split('/')[0]}/fp32",
        )
        for name in names
    )
    layer_ms = np.array([[3.0, 2.0, 1.0, 9.0], [1.0, np.inf, 2.0, np.inf]])
    mask = np.isfinite(layer_ms)
    space = Space(layers=("x", "y"), primitives=primitives, mask=mask, edges=())
    none = np.zeros((0, len(space.labels)))
    cost = CostModel(space=space, layer_ms=layer_ms, enter_ms=none, leave_ms=none)
    assert undivided(cost).tolist() == [[1, 0], [2, 2]]
