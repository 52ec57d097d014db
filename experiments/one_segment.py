"""Three primitives and more inside one segment: one graph of one engine, and what that gains.

    python experiments/one_segment.py                                # 3 engines, results/
    python experiments/one_segment.py --engines ncnn --networks kws1 --seconds 5

For each engine and network the uniform plans are profiled, and of this is made the plan that the
profile says is fastest among those in which at least three primitives run in layers that have a
choice: each layer takes its fastest primitive, then the layers that lose least take what is
missing. The plan is built as the product builds it, and has to be one segment. Measured
interleaved, run by run: the plan, every uniform plan, and where the engine reads ONNX the model in
the engine alone, without a session of ours (`Builder.bare`). Given are the primitives and kernels
that read back, the outputs' largest error against onnxruntime in fp32, and how many times faster
the plan is than each of the others, with the 95 % interval of the paired ratio. onnxruntime has two
primitives in fp32; the third is int8, and what that does to the output the error shows. The others
must be equal to 1e-4.

About 2 minutes a row on two quiet cores; everything measured is stored.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import held_out
import noise
import numpy as np

from qsdnn.accuracy.loss import AccuracyConfig
from qsdnn.board import MeasureOptions, State, open_board
from qsdnn.listener import Silent
from qsdnn.measure.paired import paired_ratio
from qsdnn.primitive import Precision
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race
from qsdnn.tuning.start.uniform import uniform_plans
from qsdnn.tuning.trial import usable

ENGINES = ("onnxruntime", "openvino", "ncnn")
NETWORKS = ("kws1", "resnet18")
# In fp32 onnxruntime has two.
PRECISIONS = {"onnxruntime": (Precision.FP32, Precision.INT8)}
READ_ONNX = ("onnxruntime", "openvino")
WANTED = 3
RESULTS = Path(__file__).parent / "results" / "one_segment.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each comparison")
    parser.add_argument("--store", default="one_segment.db")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = []
    for engine in asked.engines:
        for network in asked.networks:
            with (
                tempfile.TemporaryDirectory() as folder,
                open_board("local") as board,
                Store(asked.store) as store,
            ):
                bench = bench_of(engine, network, board, store, Path(folder))
                row = study(engine, bench, asked.seconds)
            rows.append({"engine": engine, "network": network, **row})
            print(line(rows[-1]), flush=True)
            content = {"command": " ".join(["python", *sys.argv]), "machine": held_out.machine()}
            text = json.dumps({**content, "rows": rows}, indent=1) + "\n"
            asked.output.write_text(text, encoding="utf-8")


def bench_of(engine, network, board, store, folder):
    model, data = noise.example(network, folder)
    precisions = PRECISIONS.get(engine, (Precision.FP32,))
    lossy = Precision.INT8 in precisions
    config = SearchConfig(
        model=model,
        engines=(engine,),
        precisions=precisions,
        accuracy=AccuracyConfig(calibration=data) if lossy else None,
    )
    return prepare(config, board, store, Silent(), folder).bench


def study(engine, bench, seconds):
    space, measured = usable(bench.space, race(bench))
    plans = {"plan": mixed(space, measured.layer_ms), **uniform_plans(space)}
    choices = {n: [space.primitives[p] for p in plan] for n, plan in plans.items()}
    packages = {name: bench.builder.build(choice) for name, choice in choices.items()}
    if engine in READ_ONNX:
        packages["bare"] = bench.builder.bare(engine)
    segments = packages["plan"].manifest["segments"]
    assert len(segments) == 1, [segment["family"] for segment in segments]
    options = MeasureOptions(
        min_runs=20, max_runs=5000, precision=0.0, budget_s=seconds, profile=True, again=2
    )
    records = bench.measurer.measure(list(packages.values()), "one segment", options, paired=True)
    return tell(bench.builder.graph, choices["plan"], dict(zip(packages, records, strict=True)))


def mixed(space, layer_ms):
    """The fastest by the profile among the plans of `WANTED` primitives, nearly: see above."""
    cost = np.where(space.mask, layer_ms, np.inf)
    plan = cost.argmin(axis=1)
    free = np.flatnonzero(space.mask.sum(axis=1) > 1)
    while len(used := Counter(plan[free].tolist())) < WANTED:
        swaps = [
            (cost[layer, p] - cost[layer, plan[layer]], layer, p)
            for layer in free
            for p in np.flatnonzero(space.mask[layer])
            if p not in used and used[plan[layer]] > 1
        ]
        if not swaps:
            raise SystemExit(f"only {len(used)} primitives: {[str(p) for p in space.primitives]}")
        _, layer, plan[layer] = min(swaps)
    return plan


def tell(graph, choice, records):
    """What is written down."""
    plan = records.pop("plan")
    assert plan.state is State.OK, plan.error
    ran = [
        (plan.applied[layer.index], layer, asked)
        for layer, asked in zip(graph.layers, choice, strict=True)
    ]
    return {
        "primitives": Counter(map(str, choice)),
        "read_back_otherwise": sum(told.primitive != str(asked) for told, _, asked in ran),
        "layers": [
            [layer.name, str(asked), told.primitive, told.kernel] for told, layer, asked in ran
        ],
        "max_error": plan.max_error,
        "latency_ms": plan.latency_ms,
        "ci95_ms": plan.ci95_ms,
        "runs": len(plan.runs_ms),
        "trust": plan.trust,
        "times_faster_than": {
            name: versus(record, plan) for name, record in records.items() if record.runs_ms
        },
        "failed": {n: r.error for n, r in records.items() if r.state is not State.OK},
    }


def versus(other, plan):
    ratio, low, high = paired_ratio(other, plan)
    return {"latency_ms": other.latency_ms, "ratio": ratio, "ci95": [low, high]}


def line(row):
    ratios = ", ".join(
        f"{found['ratio']:.3f} [{found['ci95'][0]:.3f}, {found['ci95'][1]:.3f}] {name}"
        for name, found in row["times_faster_than"].items()
    )
    return (
        f"{row['engine']:12} {row['network']:10} {row['latency_ms']:8.3f} ms  "
        f"{dict(row['primitives'])}  {row['read_back_otherwise']} read back otherwise  "
        f"error {row['max_error']:.1e}  times faster than: {ratios}"
    )


if __name__ == "__main__":
    main()
