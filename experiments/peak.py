"""The share of the processor's peak that the native engine reaches, by layer and by network.

    python experiments/peak.py                            # layers, then resnet50 and vgg19
    python experiments/peak.py --networks resnet18 --layers

A layer is the middle one of three: what comes in and goes out is in the engine's own layout. Its
time is the least of many profiled runs, and the peak that of a loop of multiply-adds on registers,
run in turns with it: on a shared machine both minima are of undisturbed moments. A network's time
is the median of runs in turns with the same loop, its work counted as direct convolution: Winograd
does less, so a share above 1 is possible. Half a minute a network.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import held_out
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn_primitives.lne.library import compiler
from qsdnn_primitives.lne.target import told_target
from qsdnn_runtime import Session
from qsdnn_runtime.engine import find_loader

RESULTS = Path(__file__).parent / "results"
LAYERS = (  # input channels, output channels, window, size, stride
    *((64, 256, 1, 56, 1), (256, 64, 1, 56, 1), (512, 128, 1, 28, 1), (1024, 256, 1, 14, 1)),
    *((512, 2048, 1, 7, 1), (64, 64, 3, 56, 1), (128, 128, 3, 28, 1), (256, 256, 3, 14, 1)),
    *((512, 512, 3, 7, 1), (128, 128, 3, 56, 2), (50, 50, 5, 40, 1), (3, 64, 7, 224, 2)),
)
LOOP = """
typedef float vec __attribute__((vector_size(4 * LANES)));
float multiply_adds(long turns)
{
    vec sums[SUMS], factor = (vec){0} + 0.9999f, term = (vec){0} + 1e-9f;
    for (int i = 0; i < SUMS; i++) sums[i] = (vec){0} + (float)i;
    for (long t = 0; t < turns; t++)
        for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + term;
    float total = 0;
    for (int i = 0; i < SUMS; i++) total += sums[i][0];
    return total;
}
"""
SUMS, TURNS = 12, 100_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=["resnet50", "vgg19"])
    parser.add_argument("--layers", action="store_true", help="the layers too, where networks are")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each layer, and each network"
    )
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "peak.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lab = Lab(Path(scratch), asked.seconds)
        rows = {}
        if asked.layers or asked.networks == parser.get_default("networks"):
            for shape in LAYERS:
                rows |= lab.layer(*shape)
        for network in asked.networks:
            rows |= lab.network(network)
    content = {"command": " ".join(["python", *sys.argv]), "machine": held_out.machine()}
    asked.output.write_text(json.dumps({**content, "rows": rows}, indent=1) + "\n")


class Lab:
    def __init__(self, folder, seconds):
        self.folder, self.seconds = folder, seconds
        info = find_loader("lne").probe()
        words = [word for word in info.capabilities if word not in ("INT8", "BF16")]
        self.info = EngineInfo(name="lne", version="", capabilities=tuple(words))
        self.engines = load_engines(["lne", "onnxruntime"])
        self.loop = loop_of(told_target(info.capabilities), folder)

    def layer(self, inputs, outputs, window, size, stride):
        model = self.folder / "layer.onnx"
        onnx.save(chain(inputs, outputs, window, size, stride), model)
        graph = load_graph(model, workdir=self.folder)
        rows = {}
        for primitive in self.engines["lne"].primitives(graph.layers[1], self.info):
            choice = [self.engines["lne"].primitives(x, self.info)[0] for x in graph.layers]
            choice[1] = primitive
            ms, peak = self.time(graph, choice, lambda session: session.layer_times()[1])
            name = f"{window}x{window} {inputs}->{outputs} @{size}" + f" s{stride}" * (stride > 1)
            rows |= row(f"{name} {primitive.algorithm}", graph.layers[1].macs, min(ms), max(peak))
        return rows

    def network(self, name):
        graph = load_graph(held_out.example(name, self.folder), workdir=self.folder)
        choice = [self.engines["lne"].primitives(layer, self.info)[0] for layer in graph.layers]
        ms, peak = self.time(graph, choice)
        macs = sum(layer.macs for layer in graph.layers)
        return row(name, macs, float(np.median(ms)), float(np.median(peak)))

    def time(self, graph, choice, profiled=None):
        """Milliseconds of runs, and the loop's GFLOP/s, in turns."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        package = Builder(graph, self.engines, folder, infos={"lne": self.info}).build(choice)
        feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
        ms, peak, since = [], [], time.monotonic()
        with Session(package.manifest, artifacts=folder, profile=profiled is not None) as session:
            session.run(None, feeds)
            while time.monotonic() - since < self.seconds or len(ms) < 9:
                before = profiled(session) if profiled else 0.0
                start = time.perf_counter()
                session.run(None, feeds)
                whole_ms = 1e3 * (time.perf_counter() - start)
                ms.append(profiled(session) - before if profiled else whole_ms)
                peak.append(self.loop())
        return ms, peak


def row(name, macs, ms, peak):
    rate = 2e-6 * macs / ms
    print(
        f"{name:32} {ms:9.3f} ms {rate:7.1f} of {peak:6.1f} GFLOP/s: {rate / peak:.3f}", flush=True
    )
    return {name: {"ms": ms, "gflops": rate, "peak_gflops": peak, "share": rate / peak}}


def loop_of(target, folder):
    """A function that tells the GFLOP/s of multiply-adds on registers, compiled for the target."""
    source, library = folder / "loop.c", folder / "loop.so"
    source.write_text(LOOP)
    flags = ("-O3", "-ffp-contract=fast", "-shared", "-fPIC", "-nostdlib")
    sizes = (f"-DLANES={target.lanes}", f"-DSUMS={SUMS}")
    subprocess.run([*compiler(target), *flags, *sizes, str(source), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).multiply_adds
    function.argtypes, function.restype = [ctypes.c_long], ctypes.c_float

    def measured():
        start = time.perf_counter()
        function(TURNS)
        return 2e-9 * TURNS * SUMS * target.lanes / (time.perf_counter() - start)

    return measured


def chain(inputs, outputs, window, size, stride):
    """Three layers: one makes the input of the middle one, another reads its output."""
    rng = np.random.default_rng(0)
    few = inputs < 8  # as at the beginning of a network
    shapes = [(inputs, inputs, 1, 1), (outputs, inputs, window, stride), (8, outputs, 1, 1)]
    nodes, weights = [], []
    for i, (y, x, k, s) in enumerate(shapes):
        if i == 0 and few:
            nodes.append(helper.make_node("Relu", ["x"], ["t1"]))
            continue
        scale = np.sqrt(2 / (x * k * k))
        values = (scale * rng.standard_normal((y, x, k, k))).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{i}"))
        names = [f"t{i}" if i else "x", f"w{i}"]
        pads = [(k - 1) // 2] * 2 + [k // 2] * 2
        nodes.append(helper.make_node("Conv", names, [f"c{i}"], pads=pads, strides=[s, s]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"t{i + 1}"]))
    graph = helper.make_graph(
        nodes, "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs, size, size])],
        [helper.make_tensor_value_info("t3", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    return onnx.shape_inference.infer_shapes(model)


if __name__ == "__main__":
    main()
