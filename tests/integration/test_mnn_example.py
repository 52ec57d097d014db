"""The engine that CONTRIBUTING adds: asked and built without MNN, run where it is installed."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from qsdnn import examples
from qsdnn.engine import GROUP, Engine, EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn_runtime.board.probe import loader_names
from qsdnn_runtime.engine import Executable, Loader, find_loader
from qsdnn_runtime.engines.blas.program import read_program

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "qsdnn_mnn"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example as pip would install it: its modules and its entry points on the path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "site" / f"qsdnn_mnn-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    points = project["entry-points"][GROUP]
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path / "site"
    for name in ("qsdnn_mnn", "qsdnn_loader_mnn"):
        sys.modules.pop(name, None)


def test_both_halves_are_found_and_have_the_shape_they_must(installed: Path) -> None:
    (engine,) = load_engines(["mnn"]).values()
    assert isinstance(engine, Engine) and engine.name == "mnn"
    loader = find_loader("mnn")
    assert loader.name == "mnn" and "mnn" in loader_names()
    assert (loader.probe() is None) == (find_spec("MNN") is None)
    assert parameters(type(engine), Engine) == parameters(Engine, Engine)
    assert parameters(type(loader), Loader) == parameters(Loader, Loader)
    module = importlib.import_module("qsdnn_loader_mnn")
    for executable in (module.MnnExecutable, module.ProfiledExecutable):
        assert parameters(executable, Executable) == parameters(Executable, Executable)


def test_the_board_half_is_python_3_8() -> None:
    path = EXAMPLE / "qsdnn_loader_mnn.py"
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def parameters(kind: type, protocol: type) -> dict[str, list[str]]:
    """The parameters of each method that a protocol has, as a class has them."""
    names = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    public = [name for name in names if not name.startswith("_")]
    return {name: list(inspect.signature(getattr(kind, name)).parameters) for name in public}


def test_a_network_it_takes_is_written_as_a_program(installed: Path, tmp_path: Path) -> None:
    onnx.save(examples.build("kws9"), tmp_path / "kws9.onnx")
    graph = load_graph(tmp_path / "kws9.onnx", workdir=tmp_path)
    info = EngineInfo(name="mnn", version="")
    space = space_of(graph, load_engines(["mnn"]), {"mnn": info})
    assert [str(primitive) for primitive in space.primitives] == ["mnn/auto/fp32"]
    builder = Builder(graph, load_engines(["mnn"]), tmp_path)
    package = builder.build([space.primitives[0]] * len(graph.layers))
    (segment,) = package.manifest["segments"]
    program = read_program(tmp_path / segment["artifact"])
    assert sorted(program.layers) == [layer.index for layer in graph.layers]
    assert builder.bare("mnn").manifest["segments"] == [segment]


@pytest.mark.slow
def test_with_mnn_it_passes_the_conformance_suite(installed: Path) -> None:
    if find_spec("MNN") is None:
        pytest.skip(
            "MNN IS NOT INSTALLED, so the engine of CONTRIBUTING was NOT RUN: pip install MNN"
        )
    path = os.pathsep.join([str(installed), str(EXAMPLE)])
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance", "-k", "mnn"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
