"""Networks that run in ncnn alone, and their artifacts."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from onnx import helper

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn_runtime import Session
from qsdnn_runtime.engine import SegmentSpec, find_loader
from tests.unit.runtime.onnx_package import model

pytest.importorskip("ncnn")

LOADER = find_loader("ncnn")
INFO = EngineInfo(name="ncnn", version="")
GENERATOR = np.random.default_rng(0)


class Network:
    """A network that runs in ncnn alone."""

    def __init__(self, proto, folder):
        folder.mkdir(exist_ok=True)
        onnx.save(proto, folder / "model.onnx")
        self.folder = folder
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        self.engines = load_engines(("onnxruntime", "ncnn"))
        self.builder = Builder(self.graph, self.engines, folder)
        engine = self.engines["ncnn"]
        self.rows = [engine.primitives(layer, INFO) for layer in self.graph.layers]
        self.feeds = {
            name: GENERATOR.standard_normal(self.graph.tensors[name].shape).astype(np.float32)
            for name in self.graph.inputs
        }

    def choice(self, algorithm):
        """Each layer's primitive of that algorithm, or its first."""
        return [next((p for p in row if p.algorithm == algorithm), row[0]) for row in self.rows]

    def session(self, choice, **options):
        package = self.builder.build(choice)
        return Session(package.manifest, artifacts=self.folder, **options)

    def reference(self):
        package = self.builder.reference()
        with Session(package.manifest, artifacts=self.folder) as session:
            return session.run(None, self.feeds)

    def artifact(self):
        (segment,) = self.builder.build([row[0] for row in self.rows]).manifest["segments"]
        return self.folder / segment["artifact"]


def chain(count, kernel=(3, 3), channels=32, size=12, **attributes):
    """Convolutions one after another, with Relu."""
    nodes, weights = [], {}
    for i in range(count):
        last = "y" if i + 1 == count else f"r{i}"
        nodes.append(
            helper.make_node(
                "Conv", ["x" if i == 0 else f"r{i - 1}", f"w{i}"], [f"c{i}"],
                auto_pad="SAME_UPPER", **attributes,
            )
        )  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{i}"], [last]))
        scale = np.float32(1 / np.sqrt(channels * kernel[0] * kernel[1]))
        array = GENERATOR.standard_normal((channels, channels, *kernel)).astype(np.float32)
        weights[f"w{i}"] = array * scale
    shape = (1, channels, size, size)
    stride = attributes.get("strides", (1, 1))[0] ** count
    out = (1, channels, -(-size // stride), -(-size // stride))
    return model(nodes, [("x", "float32", shape)], [("y", "float32", out)], weights)


def spec_of(document, network):
    """A segment of an artifact that was changed, under the name of its content."""
    content = json.dumps(document).encode()
    path = network.folder / f"{hashlib.sha256(content).hexdigest()[:16]}.json"
    path.write_bytes(content)
    return SegmentSpec(path, "ncnn", network.graph.inputs, network.graph.outputs, {}, {})


def run(path, network):
    spec = SegmentSpec(path, "ncnn", network.graph.inputs, network.graph.outputs, {}, {})
    executable = LOADER.load(spec, 1)
    try:
        executable.call(network.feeds)
    finally:
        executable.close()
