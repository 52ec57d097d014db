from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from qsdnn.errors import ModelError
from qsdnn.model import load_graph, write_original, write_segment

EXPORTS = Path(__file__).parents[2] / "data"


@pytest.fixture
def mobile(tmp_path):
    return load_graph(EXPORTS / "mobile.onnx", workdir=tmp_path / "weights")


def test_a_segment_is_named_by_content_and_shares_the_weights(mobile, segment, tmp_path):
    before = onnx.ModelProto.FromString(_serialized(mobile))
    whole = segment(mobile, mobile.layers)
    files, options = write_segment(whole, tmp_path)
    assert files == write_segment(whole, tmp_path)[0]
    assert files[1:] == (mobile.weights.name,)
    assert (tmp_path / files[1]).read_bytes() == mobile.weights.read_bytes()
    assert (tmp_path / files[0]).stat().st_size < 20_000
    assert sorted(p.name for p in tmp_path.glob("*.*")) == sorted(files)
    assert onnx.ModelProto.FromString(_serialized(mobile)) == before
    model = onnx.load(tmp_path / files[0])
    onnx.checker.check_model(model)
    assert [node.name for node in model.graph.node] == list(options["nodes"])
    assert options["nodes"]["2:1"] == 2
    assert {mobile.producer[name] == options["tensors"][name] for name in mobile.producer} == {True}


def _serialized(graph) -> bytes:
    import onnx_ir

    return onnx_ir.to_proto(graph.model).SerializeToString(deterministic=True)


def test_a_segment_without_weights_is_one_file(save, segment, tmp_path):
    path = save([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]})
    graph = load_graph(path, workdir=tmp_path / "weights")
    files, options = write_segment(segment(graph, graph.layers), tmp_path / "out")
    assert len(files) == 1
    assert options == {"nodes": {"0:0": 0}, "tensors": {"y": 0}}


def test_openvino_reads_the_same(mobile, segment, tmp_path, feeds, run, close):
    openvino = pytest.importorskip("openvino")
    values = feeds(mobile)
    files, _ = write_segment(segment(mobile, mobile.layers), tmp_path)
    compiled = openvino.Core().compile_model(
        tmp_path / files[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    close(
        dict(zip(mobile.outputs, compiled(values).values(), strict=True)),
        run(EXPORTS / "mobile.onnx", values),
    )


def test_weights_are_aligned_and_stored_once(save, tmp_path):
    table = np.random.default_rng(0).standard_normal((17, 17)).astype(np.float32)
    path = save(
        [
            helper.make_node("MatMul", ["x", "a"], ["t"]),
            helper.make_node("MatMul", ["t", "b"], ["u"]),
            helper.make_node("MatMul", ["u", "c"], ["y"]),
        ],
        {"x": [1, 17]},
        {"y": [1, 17]},
        {"a": table, "b": table.copy(), "c": table.T.copy()},
    )
    graph = load_graph(path, workdir=tmp_path / "weights")
    tensors = [value.const_value for value in graph.model.graph.initializers.values()]
    assert all(tensor.offset % 64 == 0 for tensor in tensors)
    assert len({tensor.offset for tensor in tensors}) == 2
    assert graph.weights.stat().st_size < 2 * table.nbytes + 64
    np.testing.assert_array_equal(tensors[0].numpy(), table)
    assert [layer.parameter_bytes for layer in graph.layers] == [table.nbytes] * 3


def test_the_original_keeps_its_nodes_and_takes_the_shapes(tmp_path, feeds, run, close):
    path = EXPORTS / "dynamic.onnx"
    graph = load_graph(path, {"image": (2, 3, 32, 32)}, workdir=tmp_path / "weights")
    (file,) = write_original(graph, tmp_path)
    model = onnx.load(tmp_path / file)
    assert len(model.graph.node) == len(onnx.load(path).graph.node)
    sizes = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [2, 3, 32, 32]
    values = feeds(graph)
    close(run(tmp_path / file, values), run(path, values))


def test_the_original_with_external_data(save, tmp_path, run):
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    path = save(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": [1, 64]},
        {"y": [1, 64]},
        {"w": weight},
    )
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.data")
    graph = load_graph(path, workdir=tmp_path / "weights")
    files = write_original(graph, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(files)
    ones = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(
        run(tmp_path / "out" / files[0], {"x": ones})["y"], ones @ weight, atol=1e-4
    )
    (tmp_path / "w.data").write_bytes(bytes(weight.nbytes))
    with pytest.raises(ModelError, match="changed"):
        write_original(graph, tmp_path / "out")
