"""Networks that run in TensorFlow Lite alone."""

import numpy as np
import onnx
import pytest

from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.plan.build import Builder
from qsdnn_runtime import Session
from qsdnn_runtime.engine import SegmentSpec, find_loader

pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")

LOADER = find_loader("litert")
INFO = EngineInfo(name="litert", version="")
GENERATOR = np.random.default_rng(0)


class Network:
    """A network that runs in TensorFlow Lite alone."""

    def __init__(self, proto, folder):
        folder.mkdir(exist_ok=True)
        onnx.save(proto, folder / "model.onnx")
        self.folder = folder
        self.graph = load_graph(folder / "model.onnx", workdir=folder)
        self.engines = load_engines(("onnxruntime", "litert"))
        self.feeds = {
            name: GENERATOR.standard_normal(self.graph.tensors[name].shape).astype(np.float32)
            for name in self.graph.inputs
        }
        self.builder = Builder(self.graph, self.engines, folder)

    def choice(self, algorithm="xnnpack", precision="fp32"):
        """Each layer's primitive of that name, in fp32 where it has no other."""
        rows = [accepted(self.engines["litert"], layer, INFO) for layer in self.graph.layers]
        same = [[p for p in row if p.algorithm == algorithm] for row in rows]
        return [next((p for p in row if p.precision == precision), row[0]) for row in same]

    def calibrated(self):
        """The builder, with the ranges that the feeds give."""
        ranges = load_calibrator("minmax").calibrate(self.graph, self.feeds)
        return Builder(self.graph, self.engines, self.folder, calibration=ranges)

    def session(self, choice, builder=None, **options):
        package = (builder or self.builder).build(choice)
        return Session(package.manifest, artifacts=self.folder, **options)

    def spec(self, algorithm="xnnpack", **options):
        """The one segment, with some of its options replaced."""
        (segment,) = self.builder.build(self.choice(algorithm)).manifest["segments"]
        layers = {la["index"]: la["primitive"] for la in segment["layers"]}
        return SegmentSpec(
            self.folder / segment["artifact"],
            segment["family"],
            tuple(segment["inputs"]),
            tuple(segment["outputs"]),
            {**segment["options"], **options},
            layers,
        )

    def reference(self):
        with Session(self.builder.reference().manifest, artifacts=self.folder) as session:
            return session.run(None, self.feeds)
