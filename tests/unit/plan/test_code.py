"""C packages: where they may be written, and what cannot be one."""

import dataclasses
import json

import onnx
import onnx.parser
import pytest
from click.testing import CliRunner

from qsdnn.cli import group
from qsdnn.errors import InputError, UnsupportedLayerError
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.plan import Choice, Model, code, to_json
from qsdnn.plan.code import check_folder
from tests.unit.plan.test_document import EXAMPLE

ODD = "m (float[2,3,8,8] x) => (float[2,3,8,8] y) { r = Relu(x) y = Sin(r) }"
NETWORK = {"network.h", "network.c", "weights.c", "main.c", "Makefile"}


def _plan(model, folder, primitive="ncnn/auto/fp32"):
    if isinstance(model, str):
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {model}')
    onnx.save(model, folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    plan = dataclasses.replace(
        EXAMPLE,
        model=Model(path=str(folder / "model.onnx"), sha256=graph.sha256),
        layers=tuple(Choice(name=layer.name, primitive=primitive) for layer in graph.layers),
    )
    (folder / "plan.json").write_text(to_json(plan))
    return folder / "plan.json"


def _package(plan, folder, *words):
    return CliRunner().invoke(
        group, ["package", str(plan), "-o", str(folder), "--format", "c", *words]
    )


def test_a_package_in_numbers(tmp_path):
    ran = _package(_plan(build("tiny-cnn"), tmp_path), tmp_path / "c", "--json")
    told = json.loads(ran.stdout)
    assert ran.exit_code == 0 and set(told["files"]) == NETWORK
    header = (tmp_path / "c" / "network.h").read_text()
    assert f"#define NETWORK_ARENA_BYTES {told['arena_bytes']}\n" in header
    assert f"#define NETWORK_WEIGHTS_BYTES {told['weights_bytes']}\n" in header
    assert "void network_run(const float *input, float *output);" in header
    assert "ncnn" not in header and "planned for other engines" in told["note"]


def test_a_folder_that_holds_files_needs_force_and_keeps_the_others(tmp_path):
    plan, folder = _plan(build("tiny-cnn"), tmp_path), tmp_path / "firmware"
    folder.mkdir()
    assert _package(plan, folder).exit_code == 0
    (folder / "mine.c").write_text("int mine;\n")
    (folder / "network.c").unlink()
    ran = _package(plan, folder)
    assert isinstance(ran.exception, InputError) and "is not empty" in str(ran.exception)
    assert "--force" in ran.exception.hint and not (folder / "network.c").exists()
    assert _package(plan, folder, "--force").exit_code == 0
    assert {path.name for path in folder.iterdir()} == {*NETWORK, "mine.c"}


@pytest.mark.parametrize("name", ["deploy.zip", "deploy.tar.gz", "network.c", "file", "no/folder"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        check_folder(tmp_path / name, force=True)
    assert caught.value.hint


def test_a_layer_without_a_kernel_is_named(tmp_path):
    ran = _package(_plan(ODD, tmp_path), tmp_path / "c")
    assert isinstance(ran.exception, UnsupportedLayerError)
    assert ran.exception.message.startswith("lne cannot run layer '")
    assert "(Sin)" in ran.exception.message and not (tmp_path / "c").exists()


def test_an_algorithm_that_a_layer_cannot_take_is_refused(tmp_path):
    plan = _plan(build("tiny-cnn"), tmp_path, primitive="lne/winograd-9/fp32")
    ran = _package(plan, tmp_path / "c")
    assert isinstance(ran.exception, InputError) and "it can take: " in ran.exception.hint


def test_another_model_is_refused(tmp_path):
    plan = _plan(build("tiny-cnn"), tmp_path)
    onnx.save(build("tiny-cnn", seed=1), tmp_path / "model.onnx")
    ran = _package(plan, tmp_path / "c")
    assert "is not the model it was made for" in str(ran.exception)


def test_without_an_engine_that_writes_c_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "load_engines", lambda: {"blas": object()})
    ran = _package(_plan(build("tiny-cnn"), tmp_path), tmp_path / "c")
    assert "none of the engines here writes C: blas" in str(ran.exception)


@pytest.mark.parametrize("words", [("--lanes", "4"), ("--force",)])
def test_options_of_c_are_for_c(tmp_path, words):
    ran = CliRunner().invoke(group, ["package", "plan.json", "-o", str(tmp_path / "p"), *words])
    assert f"{words[0]} is for --format c" in str(ran.exception)


def test_c_is_for_no_board(tmp_path):
    ran = _package("plan.json", tmp_path / "c", "--board", "lab")
    assert "--board lab" in str(ran.exception)
