"""Models of one node and of many, run by both halves of the blas engine and by onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Segment
from qsdnn.primitive import Primitive
from qsdnn_primitives.blas import ENGINE
from qsdnn_runtime.engine import SegmentSpec
from qsdnn_runtime.engines.blas import LOADER
from qsdnn_runtime.engines.blas.loader import BlasExecutable

Arrays = dict[str, np.ndarray]
INFO = EngineInfo(name="blas", version="")
RANDOM = np.random.default_rng(0)
TOLERANCE = 1e-4  # of an output's largest magnitude


def draw(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, dtype=np.float32)


def one_node(
    op_type: str,
    inputs: Sequence[np.ndarray | None],
    constants: Sequence[int] = (),
    *,
    outputs: int = 1,
    shape: Sequence[int] | None = None,  # of the outputs, where ONNX does not infer it
    opset: int = 21,
    **attributes: Any,
) -> tuple[onnx.ModelProto, Arrays]:
    """A model of one node, and its inputs: those not named as constants."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in constants}
    graph = helper.make_graph(
        [helper.make_node(op_type, names, [f"y{i}" for i in range(outputs)], **attributes)],
        op_type.lower(),
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in feeds.items()
        ],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, shape) for i in range(outputs)],
        [numpy_helper.from_array(inputs[i], f"x{i}") for i in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, feeds


def graph_of(model: onnx.ModelProto, folder: Path) -> Graph:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return load_graph(path, workdir=folder)


def offers(graph: Graph) -> list[Sequence[Primitive]]:
    return [ENGINE.primitives(layer, INFO) for layer in graph.layers]


def load(
    graph: Graph,
    choices: Sequence[Primitive],
    folder: Path,
    outputs: Sequence[str] | None = None,
) -> BlasExecutable:
    segment = Segment(
        family="blas",
        layers=graph.layers,
        choices=tuple(choices),
        inputs=graph.inputs,
        outputs=tuple(outputs or graph.outputs),
        graph=graph,
    )
    artifact = ENGINE.build(segment, folder)
    spec = SegmentSpec(
        artifact=folder / artifact.file,
        family="blas",
        inputs=segment.inputs,
        outputs=segment.outputs,
        options=artifact.options,
        layers={
            layer.index: str(choice) for layer, choice in zip(graph.layers, choices, strict=True)
        },
    )
    return LOADER.load(spec, threads=1)


def reference(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> Arrays:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def assert_close(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        scale = max(1e-6, float(np.abs(value).max()))
        np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE * scale)


def check_every_primitive(model: onnx.ModelProto, feeds: Arrays) -> None:
    """Holds each primitive a model's layers are offered against onnxruntime, one at a time."""
    wanted = reference(model, feeds)
    with tempfile.TemporaryDirectory() as name:
        graph = graph_of(model, Path(name))
        offered = offers(graph)
        assert all(offered), "a layer is offered nothing"
        for algorithm in sorted({p.algorithm for row in offered for p in row}):
            choices = [next((p for p in r if p.algorithm == algorithm), r[0]) for r in offered]
            executable = load(graph, choices, Path(name))
            assert_close(executable.call(feeds), wanted)
            applied = executable.applied()
            for layer, choice in zip(graph.layers, choices, strict=True):
                assert applied[layer.index].primitive == str(choice)
            executable.close()
