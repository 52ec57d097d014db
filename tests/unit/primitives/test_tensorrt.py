"""The host half of TensorRT: what it offers on which board, and the types that it writes.

It needs no TensorRT: what is written is run by onnxruntime.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.tensorrt import ENGINE
from qsdnn_primitives.tensorrt.cast import _bfloat16_bits, _half
from tests.unit.runtime.blas_case import draw, graph_of, one_node

ALL = ("FP32", "FP16", "TF32", "BF16", "opset:20")
INFO = EngineInfo(name="tensorrt", version="10.3", capabilities=ALL)


def offers(graph: Graph, *capabilities: str) -> list[Primitive]:
    info = EngineInfo(name="tensorrt", version="", capabilities=capabilities)
    return list(ENGINE.primitives(graph.layers[0], info))


def test_precisions_are_offered_as_the_board_says(tmp_path: Path) -> None:
    model, _ = one_node("Conv", [draw(1, 4, 7, 8), draw(8, 4, 3, 3)], [1])
    graph = graph_of(model, tmp_path)
    found = offers(graph, *ALL)
    assert {str(p): p.domain for p in found} == {
        "tensorrt/auto/fp32": "tensorrt",
        "tensorrt/auto/tf32": "tensorrt-tf32",
        "tensorrt/auto/fp16": "tensorrt/fp16",
        "tensorrt/auto/bf16": "tensorrt/bf16",
    }
    assert [str(p) for p in offers(graph, "FP32", "FP16")] == [
        *("tensorrt/auto/fp32", "tensorrt/auto/fp16")
    ]


def test_operators_that_name_types_stay_in_float32(tmp_path: Path) -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    model, _ = one_node("Resize", [draw(1, 4, 7, 8), None, scales], [2])
    assert [p.precision for p in offers(graph_of(model, tmp_path), *ALL)] == [
        *(Precision.FP32, Precision.TF32)
    ]


@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_types_that_tensorrt_lacks_are_not_offered(tmp_path: Path, dtype: type) -> None:
    node = helper.make_node("Identity", ["x"], ["a"])
    cast = helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    inputs = [helper.make_tensor_value_info("x", kind, [2, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])]
    graph = helper.make_graph([node, cast], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    assert offers(graph_of(model, tmp_path), *ALL) == []


class Network:
    """Conv, Relu and Add of an input that both branches read; weights are inside the file."""

    def __init__(self, folder: Path) -> None:
        weights = {"w": draw(4, 4, 3, 3) / 3, "b": draw(4), "v": draw(4, 4, 1, 1)}
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Conv", ["r", "v"], ["d"]),
            helper.make_node("Add", ["d", "r"], ["y"]),
        ]
        image = [1, 4, 6, 6]
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, image) for n in "xy"]
        tensors = [numpy_helper.from_array(w, name) for name, w in weights.items()]
        graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
        self.folder = folder
        onnx.save(model, folder / "net.onnx")
        self.graph = load_graph(folder / "net.onnx", workdir=folder)
        self.feeds = {"x": draw(*image)}
        self.want = onnxruntime.InferenceSession(model.SerializeToString()).run(None, self.feeds)[0]

    def build(self, *precisions: str) -> tuple[Artifact, onnx.ModelProto]:
        """Builds all layers as one segment, the precisions in turns."""
        choices = []
        for i, layer in enumerate(self.graph.layers):
            known = {str(p.precision): p for p in ENGINE.primitives(layer, INFO)}
            choices.append(known[precisions[i % len(precisions)]])
        segment = Segment(
            family="tensorrt",
            layers=self.graph.layers,
            choices=tuple(choices),
            inputs=self.graph.inputs,
            outputs=self.graph.outputs,
            graph=self.graph,
        )
        artifact = ENGINE.build(segment, self.folder / "built")
        return artifact, onnx.load(self.folder / "built" / artifact.file)

    def error(self, artifact: Artifact) -> float:
        """The largest error of the output, of its magnitude."""
        session = onnxruntime.InferenceSession(self.folder / "built" / artifact.file)
        (got,) = session.run(None, self.feeds)
        assert got.dtype == np.float32
        return float(np.abs(got - self.want).max() / np.abs(self.want).max())


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


def test_float32_is_written_as_it_is(network: Network) -> None:
    for precision in ("fp32", "tf32"):
        artifact, model = network.build(precision)
        assert "Cast" not in {node.op_type for node in model.graph.node}
        assert network.error(artifact) < 1e-6


def test_a_network_in_float16_casts_at_its_ends_only(network: Network) -> None:
    artifact, model = network.build("fp16")
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert [(node.input[0], node.output[0]) for node in casts] == [
        *(("x", "x/fp16"), ("y/fp16", "y"))
    ]
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types == {TensorProto.FLOAT16}
    assert 1e-6 < network.error(artifact) < 5e-3
    assert {artifact.options["nodes"][node.name] for node in casts} == {
        *(network.graph.layers[0].index, network.graph.layers[-1].index)
    }


def test_layers_of_several_precisions_in_one_file(network: Network) -> None:
    assert len(network.graph.layers) > 1
    artifact, model = network.build("fp32", "fp16")
    types = {tensor.data_type for tensor in model.graph.initializer}
    assert types == {TensorProto.FLOAT, TensorProto.FLOAT16}
    names = [node.output[0] for node in model.graph.node]
    assert len(names) == len(set(names))  # each form is made once
    assert set(artifact.options["nodes"]) >= {node.name for node in model.graph.node}
    assert network.error(artifact) < 5e-3


def test_bfloat16_is_typed_throughout(network: Network) -> None:
    _, model = network.build("bf16", "fp16")
    for node in model.graph.node:
        del node.attribute[:]
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert set(types.values()) == {TensorProto.BFLOAT16, TensorProto.FLOAT16}
    for node in model.graph.node:
        if node.op_type != "Cast":  # one type a node
            assert len({name.rpartition("/")[2] for name in (*node.input, *node.output)}) == 1


def test_rounding_of_weights() -> None:
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, 3.4e38], np.float32)
    assert _bfloat16_bits(values).tolist() == [0x3F80, 0x3F80, 0x3F82, 0xFF80, 0x7F80]
    assert _bfloat16_bits(np.array(2.0, np.float32)).shape == ()
    assert _half(np.array([-np.inf, 1e6, 0.5], np.float32)).tolist() == [-65504.0, 65504.0, 0.5]


def test_the_host_half_imports_no_tensorrt() -> None:
    code = (
        "import sys; import qsdnn_primitives.tensorrt.engine; sys.exit('tensorrt' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
