"""The host half of the engine torch: what it offers on which board, and what it refuses.

It needs no PyTorch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from qsdnn import examples
from qsdnn.engine import EngineInfo
from qsdnn.errors import BuildError
from qsdnn.model.layer import Graph
from qsdnn.model.segment import Segment
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.torch import ENGINE
from tests.unit.runtime.blas_case import draw, graph_of, one_node

CPU = ("FP32", "ONEDNN")
GPU = (*CPU, "BF16", "cuda/fp32", "cuda/fp16", "cuda/bf16", "cuda/tf32")


def offers(graph: Graph, *capabilities: str) -> list[Primitive]:
    info = EngineInfo(name="torch", version="", capabilities=capabilities)
    return list(ENGINE.primitives(graph.layers[0], info))


def conv(tmp_path: Path, channels: int = 4, groups: int = 1) -> Graph:
    weights = draw(8, channels // groups, 3, 3)
    model, _ = one_node("Conv", [draw(1, channels, 7, 8), weights], [1], group=groups)
    return graph_of(model, tmp_path)


def test_a_convolution_on_a_cpu(tmp_path: Path) -> None:
    found = offers(conv(tmp_path), *CPU)
    assert [str(p) for p in found] == [
        *("torch/onednn-nhwc/fp32", "torch/onednn/fp32"),
        *("torch/gemm-nhwc/fp32", "torch/gemm/fp32", "torch/native/fp32"),
    ]
    assert {p.family for p in found} == {"torch"}
    assert {p.domain for p in found} == {"torch/nchw", "torch/nhwc"}


def test_bf16_where_the_processor_multiplies_it_and_onednn_where_it_is(tmp_path: Path) -> None:
    graph = conv(tmp_path)
    reduced = [p for p in offers(graph, *CPU, "BF16") if p.precision is Precision.BF16]
    assert [str(p) for p in reduced] == ["torch/onednn-nhwc/bf16", "torch/onednn/bf16"]
    assert {p.format for p in reduced} == {"nhwc-bf16", "nchw-bf16"}
    assert "torch/onednn/fp32" not in map(str, offers(graph, "FP32"))


def test_a_depthwise_convolution_has_no_product(tmp_path: Path) -> None:
    names = [p.algorithm for p in offers(conv(tmp_path, groups=4), *GPU)]
    assert not {"gemm", "gemm-nhwc", "cublas", "cublas-nhwc"} & {*names}
    assert {"onednn", "native", "cudnn", "depthwise"} <= {*names}
    (tmp_path / "grouped").mkdir()
    names = [p.algorithm for p in offers(conv(tmp_path / "grouped", groups=2), *GPU)]
    assert "gemm" in names and "gemm-nhwc" not in names and "depthwise" not in names


def test_a_gpu_is_a_family_of_its_own(tmp_path: Path) -> None:
    found = [p for p in offers(conv(tmp_path), *GPU) if p.family == "torch-cuda"]
    assert {p.algorithm for p in found} == {"cudnn", "cudnn-nhwc", "cublas", "cublas-nhwc"}
    assert [p.precision for p in found if p.algorithm == "cudnn"] == [
        *(Precision.FP32, Precision.TF32, Precision.BF16, Precision.FP16)
    ]
    formats = {p.precision: p.format for p in found if p.algorithm == "cudnn"}
    assert formats[Precision.TF32] == formats[Precision.FP32]  # it is stored as fp32
    names = [str(p) for p in offers(conv(tmp_path), *GPU)]
    assert len(names) == len({*names}), "a plan names primitives without their family"


def test_layers_without_a_choice(tmp_path: Path) -> None:
    pool = graph_of(one_node("MaxPool", [draw(1, 4, 6, 6)], kernel_shape=[2, 2])[0], tmp_path)
    assert [p.algorithm for p in offers(pool, *CPU)] == ["eager-nhwc", "eager"]
    (tmp_path / "tokens").mkdir()
    tokens = graph_of(one_node("Softmax", [draw(1, 4, 6, 6)])[0], tmp_path / "tokens")
    assert [p.algorithm for p in offers(tokens, *CPU)] == ["eager"]
    assert [p.algorithm for p in offers(tokens, *GPU) if p.precision == "tf32"] == ["cuda"]


def test_what_has_no_translation_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    model, _ = one_node("Einsum", [draw(2, 3), draw(3, 2)], equation="ij,jk->ik")
    graph = graph_of(model, tmp_path)
    assert offers(graph, *GPU) == []
    choice = Primitive(engine="torch", algorithm="eager", precision=Precision.FP32, family="torch")
    with pytest.raises(BuildError, match=r"torch cannot run layer .*: Einsum has no translation"):
        ENGINE.build(_segment(graph, choice), tmp_path)


def test_a_layer_cannot_take_the_algorithm_of_another(tmp_path: Path) -> None:
    graph = conv(tmp_path)
    (first, *_) = offers(graph, *CPU)
    with pytest.raises(BuildError, match="cannot take torch/eager/fp32") as caught:
        ENGINE.build(_segment(graph, replace(first, algorithm="eager")), tmp_path)
    assert "torch/onednn/fp32" in str(caught.value.hint)


def test_a_program_names_algorithm_and_precision_of_each_operator(tmp_path: Path) -> None:
    graph = conv(tmp_path)
    choice = offers(graph, *GPU)[1]
    artifact = ENGINE.build(_segment(graph, choice), tmp_path)
    (layer,) = json.loads((tmp_path / artifact.file).read_text())["layers"]
    assert [op["algorithm"] for op in layer["ops"]] == ["onednn/fp32"]


def test_a_resize_is_written_as_taps(tmp_path: Path) -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    graph = graph_of(one_node("Resize", [draw(1, 2, 3, 4), None, scales], [2])[0], tmp_path)
    artifact = ENGINE.build(_segment(graph, offers(graph, *CPU)[0]), tmp_path)
    (layer,) = json.loads((tmp_path / artifact.file).read_text())["layers"]
    (op,) = layer["ops"]
    assert op["kind"] == "Resample" and len(op["attributes"]["rows"]) == 6


def _segment(graph: Graph, choice: Primitive) -> Segment:
    return Segment(
        family=choice.family,
        layers=graph.layers,
        choices=(choice,) * len(graph.layers),
        inputs=graph.inputs,
        outputs=graph.outputs,
        graph=graph,
    )


def test_the_host_half_imports_no_pytorch() -> None:
    code = "import sys, qsdnn_primitives.torch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_layer_of_a_network_is_offered_something(tmp_path: Path) -> None:
    onnx.save(examples.build("tiny-cnn"), tmp_path / "model.onnx")
    graph = graph_of(examples.build("tiny-cnn"), tmp_path)
    info = EngineInfo(name="torch", version="", capabilities=CPU)
    assert all(ENGINE.primitives(layer, info) for layer in graph.layers)
