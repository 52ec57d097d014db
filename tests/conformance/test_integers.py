"""Layers drawn at random: one that is offered int8 runs in integers, and is near what it was."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsdnn.engine import load_engines
from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_runtime import Session

from .backend import infos
from .layers import ALONE
from .processor import saturates
from .test_layers import _reference

MIN_SQNR_DB = 5 if saturates() else 25
EXAMPLES = 20


@pytest.mark.parametrize("kind", ["conv", "pool", "product", "eltwise", "activation", "move"])
@pytest.mark.parametrize("name", load_engines())
def test_what_is_offered_int8_runs_in_integers(name, kind):
    if name not in infos():
        pytest.skip(f"{name} is not installed")
    ran = Counter()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn=ALONE[kind], seed=st.integers(0, 99))
    def check(drawn, seed):
        model = drawn.model()
        rng = np.random.default_rng(seed)
        feeds = {n: rng.standard_normal(s).astype(np.float32) for n, s in drawn.inputs.items()}
        want = _reference(model, drawn.outputs, feeds)
        with tempfile.TemporaryDirectory() as scratch:
            _check(name, model, feeds, want, Path(scratch), ran)

    check()
    print(f"{name}, {kind}: {dict(ran)}")


def _check(name, model, feeds, want, folder, ran):
    onnx.save(model, folder / "model.onnx")
    graph = load_graph(folder / "model.onnx", workdir=folder)
    engines = load_engines()
    choice = []
    for layer in graph.layers:
        offered = engines[name].primitives(layer, infos()[name])
        choice += [p for p in offered if p.precision is Precision.INT8][:1] or offered[:1]
    if len(choice) < len(graph.layers) or all(p.precision is Precision.FP32 for p in choice):
        ran["not offered"] += 1
        return
    calibration = load_calibrator("minmax").calibrate(graph, feeds)
    package = Builder(graph, engines, folder, calibration=calibration).build(choice)
    with Session(package.manifest, artifacts=folder, profile=True) as session:
        names = [output.name for output in session.get_outputs()]
        got = dict(zip(names, session.run(None, feeds), strict=True))
        applied = session.applied()
    for index, primitive in enumerate(choice):
        assert applied[index].primitive == str(primitive), applied[index].kernel
        ran[applied[index].kernel] += 1
    for output, exact in want.items():
        noise = np.sum((got[output] - exact) ** 2)
        assert noise <= np.sum(exact**2) * 10 ** (-MIN_SQNR_DB / 10)
