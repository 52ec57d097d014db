"""Layers drawn at random: each primitive that is offered gives onnxruntime's output.

So do those that it accepts and does not offer. What an engine cannot do exactly it does not offer;
that it offers nothing at all for a layer is fine, that it builds or runs something else is not.
"""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from qsdnn.engine import accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision, parse_name
from qsdnn.space import space_of
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn_runtime import Session
from qsdnn_runtime.program.values import max_error

from .backend import infos
from .layers import KINDS

TOLERANCE = 3e-5  # of the largest magnitude, fp32: Winograd's F(6, 3) loses most
EXAMPLES = 25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", load_engines())
def test_what_is_offered_is_exact(name, kind):
    if name not in infos():
        pytest.skip(f"{name} is not installed")
    ran = Counter()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn=KINDS[kind], seed=st.integers(0, 99))
    def check(drawn, seed):
        model = drawn.model()
        rng = np.random.default_rng(seed)
        feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in drawn.inputs.items()}
        want = _reference(model, drawn.outputs, feeds)
        with tempfile.TemporaryDirectory() as scratch:
            _check_primitives(name, model, feeds, want, Path(scratch), ran)

    check()
    print(f"{name}, {kind}: {dict(ran)}")


def _reference(model, names, feeds):
    """What onnxruntime alone makes of it.

    A layer that it cannot run is drawn again, and one whose output it gives another shape than ONNX
    says: it counts a pool's windows in its own way where one holds nothing but padding.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        outputs = session.run(None, feeds)
    except Exception:
        reject()
    shapes = [tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output]
    if shapes != [output.shape for output in outputs]:
        reject()
    return dict(zip(names, outputs, strict=True))


def _check_primitives(name, model, feeds, want, folder, ran):
    onnx.save(model, folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    engines = load_engines()
    rows = [
        [p for p in accepted(engines[name], la, infos()[name]) if p.precision is Precision.FP32]
        for la in graph.layers
    ]
    if not all(rows):
        ran["refused"] += 1
        return
    builder = Builder(graph, engines, folder)
    for turn in range(max(len(row) for row in rows)):
        choice = [row[min(turn, len(row) - 1)] for row in rows]
        package = builder.build(choice)
        with Session(package.manifest, artifacts=folder) as session:
            names = [output.name for output in session.get_outputs()]
            got = dict(zip(names, session.run(None, feeds), strict=True))
        assert max_error(got, want) < TOLERANCE, [str(p) for p in choice]
        ran[choice[0].algorithm] += 1


@pytest.mark.parametrize("name", load_engines())
def test_each_layer_of_a_network_tells_its_time_and_what_ran(name, tmp_path):
    """Without it a search knows of layers only what their segments took together."""
    if name not in infos():
        pytest.skip(f"{name} is not installed")
    onnx.save(build("tiny-cnn"), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    engines = load_engines([name, "onnxruntime"])
    space = space_of(graph, engines, infos())
    feeds = random_feeds({n: graph.tensors[n] for n in graph.inputs})
    plans = uniform_plans(space)
    for asked in (plan for plan in plans if plan.startswith(f"{name}/")):
        choice = [space.primitives[p] for p in plans[asked]]
        package = Builder(graph, engines, tmp_path).build(choice)
        with Session(package.manifest, artifacts=tmp_path, profile=True) as session:
            for _ in range(2):
                session.run(None, feeds)
            times, applied = session.layer_times(), session.applied()
        assert set(times) == set(applied) == set(range(len(graph.layers))), asked
        assert sum(times.values()) > 0, asked
        for index, primitive in enumerate(choice):
            told = applied[index]
            assert parse_name(told.primitive)[0] == primitive.engine and told.kernel, told
