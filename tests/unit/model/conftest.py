"""Running models and segments through onnxruntime, the reference of every test here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from qsdnn.model import Graph, Layer, load_graph, write_segment
from qsdnn.model.segment import Segment
from qsdnn.primitive import Precision, Primitive

Feeds = Mapping[str, Any]
AUTO = Primitive(
    engine="onnxruntime", algorithm="auto", precision=Precision.FP32, family="onnxruntime"
)


def _segment(graph: Graph, layers: Sequence[Layer]) -> Segment:
    """Some layers as a segment: what is read or wanted outside is an output."""
    inside = {layer.index for layer in layers}
    made = [name for layer in layers for name in layer.outputs]
    wanted = {name for layer in graph.layers if layer.index not in inside for name in layer.inputs}
    return Segment(
        family=AUTO.family,
        layers=tuple(layers),
        choices=(AUTO,) * len(layers),
        inputs=tuple(dict.fromkeys(n for la in layers for n in la.inputs if n not in made)),
        outputs=tuple(name for name in made if name in wanted or name in graph.outputs),
        graph=graph,
    )


def _run(path: Path, feeds: Feeds) -> dict[str, Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not path.name.startswith("original"):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    values = session.run(None, {name: feeds[name] for name in names})
    return dict(zip([value.name for value in session.get_outputs()], values, strict=True))


@pytest.fixture
def segment() -> Callable[[Graph, Sequence[Layer]], Segment]:
    return _segment


@pytest.fixture
def run() -> Callable[[Path, Feeds], dict[str, Any]]:
    return _run


@pytest.fixture(scope="session")
def feeds() -> Callable[[Graph], dict[str, Any]]:
    """Seeded feeds for the static inputs of a graph."""

    def make(graph: Graph) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        tensors = [graph.tensors[name] for name in graph.inputs]
        return {t.name: rng.standard_normal(t.shape).astype(t.dtype) for t in tensors}

    return make


@pytest.fixture
def close() -> Callable[[Feeds, Feeds], None]:
    """Asserts that outputs agree: names, and values within 1e-4 of the largest."""

    def check(actual: Feeds, expected: Feeds) -> None:
        assert list(actual) == list(expected)
        for name, value in expected.items():
            scale = np.abs(value).max(initial=1e-6)
            np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-4 * scale)

    return check


@pytest.fixture
def equivalent(
    tmp_path: Path, close: Callable[[Feeds, Feeds], None]
) -> Callable[[Path, Feeds], Graph]:
    """Asserts that a model, its graph as one segment, and its layers one by one agree."""

    def check(path: Path, values: Feeds, shapes: Mapping[str, tuple[int, ...]] = {}) -> Graph:
        expected = _run(path, values)
        graph = load_graph(path, shapes, workdir=tmp_path / "weights")
        folder = tmp_path / "segments"
        files, _ = write_segment(_segment(graph, graph.layers), folder)
        close({k: _run(folder / files[0], values)[k] for k in graph.outputs}, expected)
        known = dict(values)
        for layer in graph.layers:
            files, _ = write_segment(_segment(graph, [layer]), folder)
            known |= _run(folder / files[0], known)
        close({name: known[name] for name in graph.outputs}, expected)
        return graph

    return check


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model of some nodes; inputs and outputs are float32 of the shapes given."""

    def write(
        nodes: Sequence[onnx.NodeProto],
        inputs: Mapping[str, Sequence[int | str] | None],
        outputs: Mapping[str, Sequence[int | str] | None],
        weights: Mapping[str, np.ndarray[Any, Any]] = {},
        opset: int = 18,
        **options: Any,
    ) -> Path:
        def values(shapes: Mapping[str, Any]) -> list[onnx.ValueInfoProto]:
            float32 = TensorProto.FLOAT
            return [helper.make_tensor_value_info(n, float32, s) for n, s in shapes.items()]

        tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "test", values(inputs), values(outputs), tensors)
        domains = {node.domain for node in nodes} - {""}
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8, **options)
        path = tmp_path / "original.onnx"
        onnx.save(model, path)
        return path

    return write
