from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from qsdnn.model import load_graph, write_original
from qsdnn.model.embedded import LARGE_BYTES, attached, detached
from qsdnn.model.read import read, tensors_of

FLOATS = LARGE_BYTES // 4


def model_of(sizes: list[int]) -> bytes:
    """Additions of one constant each, of so many floats."""
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.standard_normal(n).astype(np.float32) for i, n in enumerate(sizes)}
    nodes = [helper.make_node("Identity", [name], [f"y{i}"]) for i, name in enumerate(weights)]
    outputs = [
        helper.make_tensor_value_info(f"y{i}", onnx.TensorProto.FLOAT, [n])
        for i, n in enumerate(sizes)
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [], outputs, initializers)
    return helper.make_model(graph, producer_name="a name").SerializeToString()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from([1, FLOATS - 1, FLOATS, FLOATS + 3]), min_size=1, max_size=4))
def test_weights_are_left_where_they_lie_and_put_back(sizes):
    content = model_of(sizes)
    view = memoryview(content)
    small = detached(view, "model.onnx")
    assert len(small) < 4 * LARGE_BYTES + 4096 or all(size < FLOATS for size in sizes)
    whole, parsed = onnx.ModelProto.FromString(content), onnx.ModelProto.FromString(small)
    for tensor, left in zip(whole.graph.initializer, parsed.graph.initializer, strict=True):
        assert left.name == tensor.name and left.dims == tensor.dims
        entries = {entry.key: entry.value for entry in left.external_data}
        if len(tensor.raw_data) < LARGE_BYTES:
            assert left == tensor
            continue
        start = int(entries["offset"])
        assert content[start : start + int(entries["length"])] == tensor.raw_data
        assert entries["location"] == "model.onnx" and not left.raw_data
    again = b"".join(attached(memoryview(small), "model.onnx", view))
    assert onnx.ModelProto.FromString(again) == whole


@pytest.mark.parametrize("length", [1, 7, 100, LARGE_BYTES, 2 * LARGE_BYTES])
def test_a_truncated_message_is_told(length):
    content = model_of([FLOATS, 2 * FLOATS])[:length]
    with pytest.raises(ValueError, match="ends after"):
        detached(memoryview(content), "model.onnx")


def test_a_network_and_its_original_keep_their_weights(tmp_path):
    path = tmp_path / "m.onnx"
    w = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 512])],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    source = read(path)
    assert source.embedded == "m.onnx" and source.data == {"m.onnx": path}
    assert not any(tensor.raw_data for tensor in tensors_of(source.proto.graph))
    loaded = load_graph(path, workdir=tmp_path / "work")
    (weights,) = loaded.model.graph.initializers.values()
    np.testing.assert_array_equal(weights.const_value.numpy(), w)
    (file,) = write_original(loaded, tmp_path / "original")
    assert onnx.load(tmp_path / "original" / file).graph.initializer[0].raw_data == w.tobytes()


def test_a_file_that_is_the_model_s_own_is_no_external_file(tmp_path, save):
    weight = np.ones((256, 512), np.float32)
    path: Path = save(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 256]}, {"y": [1, 512]},
        {"w": weight},
    )  # fmt: skip
    link = tmp_path / "other name.onnx"
    link.symlink_to(path)
    assert read(link).sha256 == read(path).sha256
