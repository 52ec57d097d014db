"""Adapters of the onnx package's backend interface: onnxruntime alone, and packages of ours."""

from __future__ import annotations

import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.backend.base import Backend, BackendRep

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn.space import space_of
from qsdnn_runtime import Session
from qsdnn_runtime.engine import find_loader


class Alone(Backend):
    """onnxruntime as it comes."""

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"

    @classmethod
    def prepare(cls, model, device="CPU", **options):
        return _AloneRep(model)


class Packaged(Backend):
    """A package built by us, its layers spread over all engines by chance."""

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"

    @classmethod
    def prepare(cls, model, device="CPU", **options):
        return _PackagedRep(model)


class _AloneRep(BackendRep):
    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs, **options):
        names = [arg.name for arg in self.session.get_inputs()]
        feeds = dict(zip(names, inputs, strict=False))
        return self.session.run(None, feeds)


class _PackagedRep(BackendRep):
    def __init__(self, model):
        self.model = model

    def run(self, inputs, **options):
        initializers = {tensor.name for tensor in self.model.graph.initializer}
        names = [i.name for i in self.model.graph.input if i.name not in initializers]
        feeds = dict(zip(names, inputs, strict=False))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            path = folder / "model.onnx"
            onnx.save(self.model, path)
            graph = load_graph(path, _dynamic(self.model, feeds), workdir=folder)
            engines = load_engines()
            space = space_of(graph, engines, infos())
            rng = np.random.default_rng(zlib.crc32(self.model.SerializeToString()))
            choice = [_pick(space, row, rng) for row in space.mask]
            told = infos() if rng.integers(2) else {}  # then as for a board that reads old models
            package = Builder(graph, engines, folder, infos=told).build(choice)
            with Session(package.manifest, artifacts=folder) as session:
                return session.run(None, feeds)


def _pick(space, row, rng):
    """A primitive of a random engine among those that may run the layer.

    What only onnxruntime runs stays in one family of it: in float16 a cut shows in the last bit.
    """
    allowed = [space.primitives[i] for i in np.flatnonzero(row)]
    if {primitive.engine for primitive in allowed} == {"onnxruntime"}:
        return allowed[0]
    engine = rng.choice(sorted({primitive.engine for primitive in allowed}))
    return allowed[rng.choice([i for i, p in enumerate(allowed) if p.engine == engine])]


def _dynamic(model, feeds):
    """Shapes for the inputs whose dimensions the model leaves open."""
    shapes = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in feeds and any(not d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(np.shape(feeds[value.name]))
    return shapes


@cache
def infos():
    """What this machine's engines are."""
    found = {}
    for name in load_engines():
        info = find_loader(name).probe()
        if info is not None:
            found[name] = EngineInfo(
                name=name,
                version=info.version,
                devices=tuple(info.devices),
                capabilities=tuple(info.capabilities),
            )
    return found
