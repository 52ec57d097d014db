"""The board's half under older Pythons than the host's, with older numpys and onnxruntimes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from qsdnn.board import MeasureOptions, Reference, State
from qsdnn.engine import load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn_boards.setup import installer
from qsdnn_boards.setup.script import remote_python
from qsdnn_boards.setup.survey import survey
from qsdnn_boards.spec.spec import GENERIC, specs
from qsdnn_boards.ssh.board import SshBoard

from .pythons import environment, find_python

SHORT = MeasureOptions(budget_s=0.2, max_runs=10, profile=True)


@pytest.fixture(scope="session", params=["3.8", "3.9"])
def older(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A version, and a Python of that version."""
    found = find_python(request.param)
    if found is None:
        reason = f"NOT TESTED: a board with Python {request.param}. This machine has no such Python"
        pytest.skip(f"{reason}: pyenv install {request.param}")
    return request.param, environment(request.param, found)


def test_every_primitive_computes_what_onnxruntime_does_here(older, address, tmp_path):
    version, python = older
    path = tmp_path / "net.onnx"
    path.write_bytes(build("tiny-cnn").SerializeToString())
    graph = load_graph(path, {}, workdir=tmp_path)
    engines = load_engines(["onnxruntime", "blas"])
    feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
    session = onnxruntime.InferenceSession(path)
    wanted = dict(zip(graph.outputs, session.run(list(graph.outputs), feeds), strict=True))

    older_one = replace(address, python=str(python))
    with SshBoard("lab", older_one) as board:
        info = board.probe()
        assert info.facts["python"].startswith(version + ".")
        assert info.facts["numpy"] != np.__version__
        assert info.engines["onnxruntime"].version != onnxruntime.__version__
        assert survey("lab", remote_python("lab", older_one), specs()[GENERIC]).disk_free_mb > 0
        space = space_of(graph, engines, info.engines)
        builder = Builder(graph, engines, tmp_path)
        packages = []
        for number in range(len(space.primitives)):
            choice = [number if row[number] else int(np.argmax(row)) for row in space.mask]
            packages.append(builder.build([space.primitives[index] for index in choice]))
        reference = Reference(feeds=feeds, outputs=wanted)
        records = board.measure(packages, reference, SHORT)
    for primitive, record in zip(space.primitives, records, strict=True):
        assert record.state is State.OK, (str(primitive), record.error)
        assert record.layers_ms, (str(primitive), record.context)
    assert {primitive.engine for primitive in space.primitives} == {"onnxruntime", "blas"}


@pytest.mark.parametrize("older", ["3.8"], indirect=True)
def test_a_pip_that_does_not_know_todays_wheels_is_renewed(older, tmp_path):
    _, python = older
    made = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", made], check=True)
    pip = [made / "bin" / "python", "-m", "pip"]
    subprocess.run([*pip, "install", "-q", "pip==20.0.2"], check=True)
    installer.renew_pip(pip[0], None)
    told = subprocess.check_output([*pip, "--version"], text=True)
    assert tuple(map(int, told.split()[1].split(".")[:2])) >= installer.OLDEST_PIP
