"""From which share of zeros on `blas/sparse` wins: its threshold in blas.py.

    python experiments/sparsity.py                                  # 8 layers, 8 sparsities
    python experiments/sparsity.py --layers 3x3-256@14 --shares 0.9 0.98 --seconds 3

Each layer is a network of its own, a convolution with random weights of which the smallest are
zero, as pruning by magnitude leaves them. All its primitives of `blas` and onnxruntime run
interleaved. Given is the time of `sparse` over that of the fastest other one of `blas`, and over
that of the fastest of onnxruntime: on an undisturbed machine (`Record.quiet_ms`), and as median of
paired runs with its 95 % interval. The crossing is where the first is 1, between two shares by its
logarithm; "–" where `sparse` never wins. Below the least crossing of all layers against `blas` it
never pays to offer it.

Writes results/sparsity.json. About 10 minutes on a quiet machine; interrupted, it goes on.
"""

import argparse
import json
import math
import re
import sys
import tempfile
from pathlib import Path

import held_out
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qsdnn.board import MeasureOptions, open_board
from qsdnn.listener import Silent
from qsdnn.measure.paired import paired_ratio
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn_primitives import blas

# kernel, channels in and out, and size of the image: of ResNets, and of keyword spotting.
LAYERS = (
    *("3x3-64@56", "3x3-128@28", "3x3-256@14", "3x3-512@7"),
    *("1x1-256:64@56", "1x1-1024:256@14", "1x1-512:2048@7", "5x5-50@20"),
)
SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
SPARSE = "blas/sparse/fp32"
RESULTS = Path(__file__).parent / "results" / "sparsity.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each group of runs")
    parser.add_argument("--store", default="sparsity.db")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    blas.LEAST_ZEROS = 0.0  # offer it everywhere
    rows = []
    with open_board("local") as board, Store(asked.store) as store:
        for layer in asked.layers:
            for share in asked.shares:
                times = measure(layer, share, asked.seconds, board, store)
                rows.append({"layer": layer, "zeros": share, **compare(times)})
                print(line(rows[-1]), flush=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "crossings": {layer: crossings(rows, layer) for layer in asked.layers},
        "rows": rows,
    }
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for layer, found in content["crossings"].items():
        told = ", ".join(f"{name} {'–' if at is None else f'{at:.3f}'}"
                         for name, at in found.items())  # fmt: skip
        print(f"{layer:16} crossing against {told}")


def network(layer, share):
    """A model of one convolution, stride 1, same size; the share of smallest weights is zero."""
    kernel, inputs, outputs, size = parse(layer)
    rng = np.random.default_rng([kernel, inputs, outputs, size])
    weights = rng.standard_normal((outputs, inputs, kernel, kernel)).astype(np.float32)
    weights[np.abs(weights) < np.quantile(np.abs(weights), share)] = 0
    info = helper.make_tensor_value_info
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[kernel // 2] * 4)
    graph = helper.make_graph(
        [node],
        f"{layer} {share}",
        [info("x", TensorProto.FLOAT, (1, inputs, size, size))],
        [info("y", TensorProto.FLOAT, (1, outputs, size, size))],
        [numpy_helper.from_array(weights / math.sqrt(inputs * kernel**2), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def parse(layer):
    """Kernel, channels in, channels out and size of ``3x3-64@56`` or ``1x1-256:64@56``."""
    kernel, inputs, outputs, size = re.fullmatch(r"(\d+)x\1-(\d+)(?::(\d+))?@(\d+)", layer).groups()
    return int(kernel), int(inputs), int(outputs or inputs), int(size)


def measure(layer, share, seconds, board, store):
    """The record of each primitive, all interleaved."""
    options = MeasureOptions(
        min_runs=15, max_runs=400, precision=0.005, budget_s=seconds, timeout_s=60.0
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        onnx.save(network(layer, share), path)
        config = SearchConfig(model=path, engines=("blas", "onnxruntime"))
        bench = prepare(config, board, store, Silent(), Path(folder)).bench
        plans = uniform_plans(bench.space)
        trials = bench.measure(list(plans.values()), "sparsity", options, paired=True)
        return {name: t.record for name, t in zip(plans, trials, strict=True) if t.ok}


def compare(records):
    """`sparse` against the fastest of each engine, the other one's name beside it."""
    found = {"sparse_ms": records[SPARSE].quiet_ms}
    for engine in ("blas", "onnxruntime"):
        others = {n: r for n, r in records.items() if n.startswith(engine) and n != SPARSE}
        name = min(others, key=lambda name: others[name].quiet_ms)
        paired, low, high = paired_ratio(records[SPARSE], others[name])
        quiet = records[SPARSE].quiet_ms / others[name].quiet_ms
        found[engine] = {"best": name, "ratio": quiet, "paired": paired, "ci95": [low, high],
                         "trust": others[name].trust.value}  # fmt: skip
    return found


def crossings(rows, layer):
    """The share of zeros where the ratio is 1, by engine; None where it stays above."""
    mine = sorted((row for row in rows if row["layer"] == layer), key=lambda row: row["zeros"])
    found = {}
    for engine in ("blas", "onnxruntime"):
        points = [(row["zeros"], math.log(row[engine]["ratio"])) for row in mine]
        found[engine] = crossing(points)
    return found


def crossing(points):
    """Where a broken line stays below 0 from there on."""
    above = [i for i, (_, y) in enumerate(points) if y >= 0]
    if not above:
        return points[0][0]
    last = above[-1]
    if last + 1 == len(points):
        return None
    (x0, y0), (x1, y1) = points[last], points[last + 1]
    return x0 + (x1 - x0) * y0 / (y0 - y1)


def line(row):
    told = []
    for engine in ("blas", "onnxruntime"):
        found = row[engine]
        low, high = found["ci95"]
        told.append(
            f"{engine} {found['ratio']:6.2f}, paired {found['paired']:6.2f} [{low:.2f}, {high:.2f}]"
            f" {found['best'].split('/')[1]:14}"
        )
    return f"{row['layer']:16} {row['zeros']:.2f} {row['sparse_ms']:8.3f} ms  {'  '.join(told)}"


if __name__ == "__main__":
    main()
