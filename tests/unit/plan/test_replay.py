"""Replay: where a plan's model is found, and what is said where plan, model and board differ."""

import dataclasses
import os
from pathlib import Path

import pytest

from qsdnn import examples
from qsdnn.board import BoardInfo
from qsdnn.engine import EngineInfo, load_engines
from qsdnn.errors import PlanError
from qsdnn.model import load_graph
from qsdnn.plan import Choice, Model, read_plan, write_plan
from qsdnn.plan.subject import rebuild
from tests.unit.plan.test_document import EXAMPLE

VERSIONS = {"blas": "1.0", "onnxruntime": "1.2"}
INFO = BoardInfo(
    name="local",
    fingerprint="f",
    engines={name: EngineInfo(name=name, version=text) for name, text in VERSIONS.items()},
    facts={},
)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    path = folder / "net.onnx"
    path.write_bytes(examples.build("tiny-cnn").SerializeToString())
    return load_graph(path, workdir=folder)


@pytest.fixture
def desk(network, tmp_path, monkeypatch):
    """The current folder, with a model; and a plan for it."""
    (tmp_path / "desk" / "plans").mkdir(parents=True)
    (tmp_path / "desk" / "net.onnx").write_bytes(network.path.read_bytes())
    monkeypatch.chdir(tmp_path / "desk")
    layers = tuple(Choice(name=layer.name, primitive=_offer(layer)) for layer in network.layers)
    model = Model(path="net.onnx", sha256=network.sha256)
    return dataclasses.replace(EXAMPLE, model=model, layers=layers, engines={"blas": "1.0"})


def _offer(layer):
    return str(load_engines(["blas"])["blas"].primitives(layer, INFO.engines["blas"])[0])


def _rebuild(path, tmp_path, info=INFO, model=None):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return rebuild(Path(path), model, info, scratch)


@pytest.mark.parametrize("given", ["net.onnx", "../desk/net.onnx"])
@pytest.mark.parametrize("output", ["plan.json", "plans/plan.json"])
def test_a_relative_model_is_found_from_any_folder(desk, tmp_path, monkeypatch, given, output):
    model = dataclasses.replace(desk.model, path=given)
    write_plan(dataclasses.replace(desk, model=model), Path(output))
    text = Path(output).read_text()
    assert str(tmp_path) not in text  # the whole tree may be moved
    (tmp_path / "desk").rename(tmp_path / "moved")
    for folder in ("/", tmp_path, tmp_path / "moved" / "plans"):
        monkeypatch.chdir(folder)
        path = tmp_path / "moved" / output
        for named in (path, os.path.relpath(path)):
            found = Path(read_plan(Path(named)).model.path).resolve()
            assert found == tmp_path / "moved" / "net.onnx"
    assert _rebuild(path, tmp_path).package.manifest["segments"]


def test_an_absolute_model_stays_one_and_a_link_keeps_its_name(desk, tmp_path):
    absolute = dataclasses.replace(desk.model, path=str(tmp_path / "desk" / "net.onnx"))
    write_plan(dataclasses.replace(desk, model=absolute), Path("plan.json"))
    assert read_plan(Path("plan.json")).model == absolute
    Path("linked.onnx").symlink_to("net.onnx")
    write_plan(
        dataclasses.replace(desk, model=dataclasses.replace(desk.model, path="linked.onnx")),
        Path("plan.json"),
    )
    assert read_plan(Path("plan.json")).model.path == "linked.onnx"


def test_a_model_that_went_along_with_its_plan_is_found_beside_it(desk, tmp_path, monkeypatch):
    write_plan(desk, Path("plans/plan.json"))
    Path("net.onnx").rename("plans/net.onnx")
    monkeypatch.chdir("/")
    path = tmp_path / "desk" / "plans" / "plan.json"
    assert _rebuild(path, tmp_path).graph.path == path.parent / "net.onnx"


def test_a_model_that_is_nowhere_is_told_with_where_it_was_looked_for(desk, tmp_path, monkeypatch):
    write_plan(desk, Path("plans/plan.json"))
    Path("net.onnx").unlink()
    monkeypatch.chdir("/")
    with pytest.raises(PlanError) as error:
        _rebuild(tmp_path / "desk" / "plans" / "plan.json", tmp_path)
    for place in (tmp_path / "desk", tmp_path / "desk" / "plans", Path("/")):
        assert f"{place / 'net.onnx'}" in error.value.message
    assert "--model FILE" in error.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda names: [*names[:2], "other", *names[3:]],
            r"layers\[2\] is 'other', the model's is",
        ),
        (lambda names: names[:-1], r"of the model is missing: layers\["),
        (lambda names: [*names, "more"], "'more' is none of the model's"),
    ],
)
def test_the_first_layer_that_differs_is_named(desk, tmp_path, change, said):
    names = change([choice.name for choice in desk.layers])
    layers = tuple(Choice(name=name, primitive="blas/direct/fp32") for name in names)
    write_plan(dataclasses.replace(desk, layers=layers), Path("plan.json"))
    with pytest.raises(PlanError, match=said):
        _rebuild("plan.json", tmp_path)


def test_a_board_or_an_engine_that_differs_from_the_plan_s_is_noted(desk, tmp_path):
    write_plan(desk, Path("plan.json"))
    assert _rebuild("plan.json", tmp_path).note == ""
    newer = {**INFO.engines, "blas": EngineInfo(name="blas", version="2.0")}
    other = dataclasses.replace(INFO, name="pi", fingerprint="g", engines=newer)
    note = _rebuild("plan.json", tmp_path, other).note
    assert "on another board (local; this one is pi)" in note
    assert "with blas 1.0 (here it is 2.0)" in note
    assert "qsdnn search net.onnx" in note


def test_an_engine_the_board_lacks_is_told_with_the_command_that_adds_it(desk, tmp_path):
    first, *rest = desk.layers
    layers = (dataclasses.replace(first, primitive="ncnn/auto/fp32"), *rest)
    write_plan(dataclasses.replace(desk, layers=layers), Path("plan.json"))
    with pytest.raises(PlanError, match="needs ncnn, which the board local") as error:
        _rebuild("plan.json", tmp_path)
    assert "-m pip install ncnn" in error.value.hint
    layers = (dataclasses.replace(first, primitive="litert/xnnpack/fp32"), *rest)
    write_plan(dataclasses.replace(desk, layers=layers), Path("litert.json"))
    with pytest.raises(PlanError) as error:
        _rebuild("litert.json", tmp_path)
    assert "-m pip install ai-edge-litert" in error.value.hint
    with pytest.raises(PlanError) as error:
        _rebuild("plan.json", tmp_path, dataclasses.replace(INFO, name="my pi"))
    assert "qsdnn boards setup 'my pi' --engines ncnn" in error.value.hint


def test_an_engine_of_another_package_is_told_with_the_plan_and_how_to_install_it(desk, tmp_path):
    first, *rest = desk.layers
    layers = (dataclasses.replace(first, primitive="mnn/auto/fp32"), *rest)
    write_plan(dataclasses.replace(desk, layers=layers), Path("plan.json"))
    with pytest.raises(PlanError, match=r"plan\.json needs an engine .* 'mnn'") as error:
        _rebuild("plan.json", tmp_path)
    assert "-m pip install PACKAGE" in error.value.hint
    assert "known: blas, " in error.value.hint
