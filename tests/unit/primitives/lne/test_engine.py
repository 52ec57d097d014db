"""What the host half refuses to build, and how often it does the same work."""

import onnx
import onnx.parser
import pytest

from qsdnn.engine import load_engines
from qsdnn.errors import BuildError
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision, Primitive
from qsdnn_primitives.lne import engine, library
from qsdnn_primitives.lne.target import TARGETS

TARGET = TARGETS["x86-64-v3"]
SINE = "m (float[2,3] x) => (float[2,3] y) { y = Sin(x) }"


def _builder(model, folder):
    if isinstance(model, str):
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {model}')
    onnx.save(model, folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    return Builder(graph, load_engines(["lne"]), folder), graph


def _choice(algorithm, precision=Precision.FP32):
    return Primitive(
        engine="lne", algorithm=algorithm, precision=precision, family=f"lne/{TARGET.name}"
    )


@pytest.mark.parametrize(
    "choice", [_choice("winograd-9"), _choice("auto"), _choice("direct", Precision.FP16)]
)
def test_a_choice_that_a_layer_cannot_take_is_refused_with_those_that_it_can(tmp_path, choice):
    builder, graph = _builder(build("tiny-cnn"), tmp_path)
    with pytest.raises(BuildError, match=f"cannot take {choice}") as caught:
        builder.build([choice] * len(graph.layers))
    assert "direct" in caught.value.hint and "vanilla" in caught.value.hint


@pytest.mark.parametrize("algorithm", ["direct", "auto"])
def test_an_operator_without_a_kernel_is_told_whatever_is_asked(tmp_path, algorithm):
    builder, _ = _builder(SINE, tmp_path)
    with pytest.raises(BuildError, match=r"lne cannot run layer '\w+': .*Sin"):
        builder.build([_choice(algorithm)])


def test_a_segment_is_lowered_once(tmp_path, monkeypatch):
    lowered = []
    real = engine.lower

    def lower(builder, *rest):
        lowered.append(builder.layer)
        real(builder, *rest)

    monkeypatch.setattr(engine, "put_kernels", lambda target, folder: "kernels.so")
    monkeypatch.setattr(engine, "lower", lower)
    builder, graph = _builder(build("tiny-cnn"), tmp_path)
    half = load_engines(["lne"])["lne"]
    choice = [_choice(engine._algorithms(layer, TARGET.lanes)[0]) for layer in graph.layers]
    lowered.clear()
    half.build(builder.segments(choice)[0], tmp_path)
    assert lowered == [layer.index for layer in graph.layers]


def test_kernels_are_read_once_until_their_file_changes(tmp_path, monkeypatch):
    made, read = tmp_path / "made.so", []
    real = library.write_content
    monkeypatch.setattr(library, "kernels", lambda target: made)
    monkeypatch.setattr(library, "write_content", lambda *call: read.append(call) or real(*call))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    made.write_bytes(b"one")
    first = {library.put_kernels(TARGET, folder) for folder in [*folders, *folders]}
    assert len(first) == 1 and len(read) == 2
    made.write_bytes(b"other")
    (name,) = {library.put_kernels(TARGET, folder) for folder in folders}
    assert name not in first and (folders[1] / name).read_bytes() == b"other"
