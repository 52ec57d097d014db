"""`blas/sparse` is offered to layers it was measured to win on, and to no others."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo
from qsdnn.model import load_graph
from qsdnn_primitives.blas import ENGINE


def algorithms_at(share, folder):
    """What a convolution may take that has this share of zeros among its weights."""
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    weights[np.abs(weights) < np.quantile(np.abs(weights), share)] = 0
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1] * 4)],
        "pruned",
        [info("x", TensorProto.FLOAT, (1, 64, 8, 8))],
        [info("y", TensorProto.FLOAT, (1, 64, 8, 8))],
        [numpy_helper.from_array(weights, "w")],
    )
    imports = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "net.onnx")
    (layer,) = load_graph(folder / "net.onnx", workdir=folder).layers
    return {p.algorithm for p in ENGINE.primitives(layer, EngineInfo(name="blas", version="1"))}


@pytest.mark.parametrize(("share", "offered"), [(0.5, False), (0.95, False), (0.985, True)])
def test_only_where_almost_all_weights_are_zero(share, offered, tmp_path):
    found = algorithms_at(share, tmp_path)
    assert ("sparse" in found) == offered and "im2col" in found
