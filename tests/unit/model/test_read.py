from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from qsdnn.errors import ModelError
from qsdnn.model import load_graph


@pytest.fixture
def external(save, tmp_path) -> Path:
    """A model with its weight in `weights.data`."""
    weight = np.ones((64, 64), np.float32)
    path = save(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": [1, 64]},
        {"y": [1, 64]},
        {"w": weight},
    )
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_graph(path)
    return str(caught.value)


def test_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.onnx")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"import torch\nprint('hello')\n", "text file"),
        ("größe: 3\n".encode(), "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not an ONNX model"),
    ],
)
def test_no_model(tmp_path, content, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert words in refusal(path)


def test_truncated_anywhere(tmp_path, save):
    path = save([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]})
    content = path.read_bytes()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        assert "truncated" in refusal(path) or "text file" in refusal(path)


def test_empty_graph(save):
    assert "empty" in refusal(save([], {"x": [1]}, {}))


def test_external_data(external, tmp_path):
    before = load_graph(external)
    assert before.layers[0].parameters == 64 * 64
    data = tmp_path / "weights.data"
    data.write_bytes(data.read_bytes()[::-1])
    assert load_graph(external).sha256 != before.sha256
    data.write_bytes(data.read_bytes()[:-1])
    assert "weights.data" in refusal(external) and "truncated" in refusal(external)
    data.unlink()
    assert "weights.data" in refusal(external) and "missing" in refusal(external)


def test_external_data_may_be_linked_but_not_lie_outside(external, tmp_path):
    data = tmp_path / "weights.data"
    (tmp_path / "blob").write_bytes(data.read_bytes())
    data.unlink()
    data.symlink_to(tmp_path / "blob")
    assert load_graph(external).layers
    model = onnx.load(external, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../weights.data"
    external.write_bytes(model.SerializeToString())
    assert "outside" in refusal(external)
