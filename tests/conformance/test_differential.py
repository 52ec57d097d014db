"""Uniform and mixed plans give onnxruntime's outputs, and sessions give their memory back."""

import gc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from qsdnn.engine import load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn_runtime import Session
from qsdnn_runtime.program.values import max_error

from .backend import infos

PLANS = 40
EXPORTS = Path(__file__).parents[1] / "data"
EXPORTED = [
    name for name in ("mobile", "encoder", "convnext") if (EXPORTS / f"{name}.onnx").exists()
]
"""They are not in the wheel."""


class Network:
    """A network with its space, its inputs, and what onnxruntime makes of them."""

    def __init__(self, name, folder):
        path = EXPORTS / f"{name}.onnx"
        if not path.exists():
            path = folder / f"{name}.onnx"
            onnx.save(build(name), path)
        self.graph = load_graph(path, workdir=folder)
        self.engines = load_engines()
        self.space = space_of(self.graph, self.engines, infos())
        self.folder = folder
        self.feeds = random_feeds({n: self.graph.tensors[n] for n in self.graph.inputs})
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = session.run(None, self.feeds)
        names = [output.name for output in session.get_outputs()]
        self.want = dict(zip(names, outputs, strict=True))

    def uniform(self):
        """The uniform plans, which a search begins with."""
        plans = uniform_plans(self.space).values()
        return [[self.space.primitives[p] for p in plan] for plan in plans]

    def mixed(self, rng):
        """A random plan: each layer starts another family half of the time."""
        plan, family = [], ""
        for row in self.space.mask:
            allowed = [self.space.primitives[p] for p in np.flatnonzero(row)]
            same = [primitive for primitive in allowed if primitive.family == family]
            options = same if same and rng.random() < 0.5 else allowed
            plan.append(options[rng.integers(len(options))])
            family = plan[-1].family
        return plan

    def package(self, choice):
        return Builder(self.graph, self.engines, self.folder).build(choice)


@pytest.mark.parametrize("name", ["tiny-cnn", *EXPORTED, "tiny-multi"])
def test_uniform_and_random_mixed_plans(name, tmp_path):
    network = Network(name, tmp_path)
    rng = np.random.default_rng(0)
    plans, segments = network.uniform(), []
    plans += [network.mixed(rng) for _ in range(PLANS - len(plans))]
    for plan in plans:
        package = network.package(plan)
        segments.append(len(package.manifest["segments"]))
        with Session(package.manifest, artifacts=tmp_path) as session:
            names = [output.name for output in session.get_outputs()]
            got = dict(zip(names, session.run(None, network.feeds), strict=True))
        assert max_error(got, network.want) < 1e-4, package.manifest["segments"]
    assert max(segments) > 3, "the plans were not mixed"


@pytest.mark.slow
def test_sessions_give_their_memory_back(tmp_path):
    network = Network("tiny-cnn", tmp_path)
    package = network.package(network.mixed(np.random.default_rng(1)))

    def cycle(times):
        for _ in range(times):
            with Session(package.manifest, artifacts=tmp_path) as session:
                session.run(None, network.feeds)
        gc.collect()
        return _resident_bytes()

    before = cycle(60)  # pools and caches of the engines fill up first
    after = cycle(200)
    assert after - before < 8e6, f"{(after - before) / 200:.0f} bytes a session"


def _resident_bytes():
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096
