"""Models run by both halves of the engine torch, and by onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from qsdnn.engine import EngineInfo
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.torch import ENGINE
from qsdnn_runtime.engine import Executable, SegmentSpec
from qsdnn_runtime.engines.torch import LOADER
from tests.unit.runtime.blas_case import Arrays, graph_of, reference

INFO = EngineInfo(name="torch", version="", capabilities=("FP32", "ONEDNN", "BF16"))
TOLERANCES = {Precision.FP32: 1e-4, Precision.BF16: 0.1}
"""Of an output's largest magnitude."""


def offers(graph: Graph, *precisions: Precision) -> list[list[Primitive]]:
    asked = precisions or (Precision.FP32,)
    rows = (ENGINE.primitives(layer, INFO) for layer in graph.layers)
    return [[p for p in row if p.precision in asked] for row in rows]


def spec_of(
    graph: Graph, choices: Sequence[Primitive], folder: Path, outputs: Sequence[str] | None = None
) -> SegmentSpec:
    family = choices[0].family
    segment = Segment(
        family=family,
        layers=graph.layers,
        choices=tuple(choices),
        inputs=graph.inputs,
        outputs=tuple(outputs or graph.outputs),
        graph=graph,
    )
    artifact = ENGINE.build(segment, folder)
    chosen = zip(graph.layers, choices, strict=True)
    return SegmentSpec(
        artifact=folder / artifact.file,
        family=family,
        inputs=segment.inputs,
        outputs=segment.outputs,
        options=artifact.options,
        layers={layer.index: str(choice) for layer, choice in chosen},
    )


def load(
    graph: Graph, choices: Sequence[Primitive], folder: Path, outputs: Sequence[str] | None = None
) -> Executable:
    return LOADER.load(spec_of(graph, choices, folder, outputs), threads=1)


def assert_near(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: float
) -> None:
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        scale = max(1e-6, float(np.abs(value).max()))
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * scale)


def check_every_primitive(
    model: onnx.ModelProto, feeds: Arrays, *precisions: Precision
) -> dict[str, str]:
    """Holds each primitive a model's layers are offered against onnxruntime, one at a time.

    Returns:
        The kernel of the first layer by primitive.
    """
    wanted, kernels = reference(model, feeds), {}
    with tempfile.TemporaryDirectory() as name:
        graph = graph_of(model, Path(name))
        offered = offers(graph, *precisions)
        assert all(offered), "a layer is offered nothing"
        for primitive in dict.fromkeys(p for row in offered for p in row):
            choices = [primitive if primitive in row else row[0] for row in offered]
            executable = load(graph, choices, Path(name))
            tolerance = max(TOLERANCES[choice.precision] for choice in choices)
            assert_near(executable.call(feeds), wanted, tolerance)
            applied = executable.applied()
            for layer, choice in zip(graph.layers, choices, strict=True):
                assert applied[layer.index].primitive == str(choice)
                assert applied[layer.index].kernel
            kernels[str(primitive)] = applied[0].kernel
            executable.close()
    return kernels
