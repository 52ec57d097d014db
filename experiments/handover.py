"""What it is worth to hand tensors from engine to engine in a blocked layout: resnet50 and vgg19.

    python experiments/handover.py                                   # both, one thread
    python experiments/handover.py --networks resnet50 --sessions 1 --budget 10

onnxruntime's NCHWc kernels and ncnn's packed blobs lie alike in memory. For each network the whole
engines are profiled; then two plans of these two engines are made:

- `every`: each 3×3 convolution of stride 1 that takes ncnn's Winograd less time in that profile
  than onnxruntime goes to ncnn, and all else stays in onnxruntime;
- `joined`: ncnn gets it only if it gains `--gain` ms, and what lies between layers of ncnn alone,
  as pools do, goes there too.

Both are measured with ONNX's own order at every boundary (`nchw`) and handed over in blocks
(`blocked`), and the best of each whole engine with them, runs of all interleaved, in `--sessions`
sessions of a new process each. Reported are ratios of times to those of the blocked plan with their
95 % intervals (median of all pairs, order statistics): above 1 means that it is faster. Every
plan's outputs are held against onnxruntime's.

About 10 minutes on two quiet cores. Everything measured is stored: interrupted, the same command
goes on; results/handover.json is written after each network.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import held_out
import measured
import numpy as np

from qsdnn.board import MeasureOptions, open_board
from qsdnn.engine import load_engines
from qsdnn.listener import Silent
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.rounds.sequential_test import turn_ratios
from qsdnn.tuning.start.race import race

NETWORKS = ("resnet50", "vgg19")
WHOLE = ("onnxruntime", "openvino", "ncnn")
RESULTS = Path(__file__).parent / "results" / "handover.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gain", type=float, default=0.1)
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds of each session")
    parser.add_argument("--board", default="local")
    parser.add_argument("--store", default="handover.db")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    rows = {}
    for network in asked.networks:
        rows[network] = row = study(network, asked)
        print(line(network, row), flush=True)
        measured.write(asked.output, rows)


def study(network, asked):
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board(asked.board) as board,
        Store(asked.store) as store,
    ):
        model = held_out.example(network, Path(folder))
        config = SearchConfig(model=model, engines=WHOLE, threads=asked.threads)
        prepared = prepare(config, board, store, Silent(), Path(folder))
        bench = prepared.bench
        bench = bench.within(preferred(bench.space, prepared.graph, bench.measurer.info))
        found = race(bench)
        plans = {name: named(bench.space, found.trials[name].choice) for name in whole(found)}
        every, joined = split(bench, found, 0.0), join(bench, split(bench, found, asked.gain))
        mixed = {"every": every} | ({} if (every == joined).all() else {"joined": joined})
        for name, choice in mixed.items():
            plans[f"{name}, blocked"] = named(bench.space, choice)
            plans[f"{name}, nchw"] = [
                dataclasses.replace(p, layouts=()) for p in named(bench.space, choice)
            ]
        packages = {name: bench.builder.build(choice) for name, choice in plans.items()}
        runs = [measure(bench, packages, n, asked) for n in range(asked.sessions)]
        return {
            "layers": len(bench.space.layers),
            "packages": {name: about(package) for name, package in packages.items()},
            "latency_ms": {name: [record[name].latency_ms for record in runs] for name in packages},
            "max_error": {
                name: max(record[name].max_error or 0.0 for record in runs) for name in packages
            },
            "trust": [sorted({record.trust for record in run.values()}) for run in runs],
            "ratios": ratios(runs, packages, mixed),
        }


def preferred(space, graph, info):
    """The space of what each engine would do if it were not asked: the first that it offers."""
    mask = np.zeros_like(space.mask)
    for name, engine in load_engines(WHOLE).items():
        for layer in graph.layers:
            for primitive in engine.primitives(layer, info.engines[name])[:1]:
                mask[layer.index, space.primitives.index(primitive)] = True
    return dataclasses.replace(space, mask=mask)


def whole(found):
    """The fastest uniform plan of each engine."""
    best = {}
    for name, trial in found.trials.items():
        engine = name.split("/")[0]
        if trial.ok and (
            engine not in best or trial.latency_ms < found.trials[best[engine]].latency_ms
        ):
            best[engine] = name
    return best.values()


def named(space, choice):
    return [space.primitives[p] for p in choice]


def split(bench, found, least_ms):
    """Each 3×3 convolution of stride 1 to ncnn where that gains enough, all else to onnxruntime."""
    names = [str(primitive) for primitive in bench.space.primitives]
    ncnn, here = names.index("ncnn/winograd/fp32"), names.index("onnxruntime/nchwc/fp32")
    gain_ms = found.layer_ms[:, here] - found.layer_ms[:, ncnn]
    return np.where(bench.space.mask[:, ncnn] & (gain_ms > least_ms), ncnn, here)


def join(bench, choice):
    """Layers without products that have no neighbours but ncnn's, to ncnn."""
    space = bench.space
    names = [str(primitive) for primitive in space.primitives]
    auto, engine = names.index("ncnn/auto/fp32"), [p.engine for p in space.primitives]
    ends = [(edge.producer, consumer) for edge in space.edges for consumer in edge.consumers]
    joined = choice.copy()
    for layer in np.flatnonzero(space.mask[:, auto] & ~space.computes):
        beside = {a if b == layer else b for a, b in ends if layer in (a, b)}
        if len(beside) > 1 and all(engine[choice[other]] == "ncnn" for other in beside):
            joined[layer] = auto
    return joined


def measure(bench, packages, session, asked):
    """One session; equal packages are measured once."""
    options = MeasureOptions(
        threads=asked.threads,
        min_runs=15,
        max_runs=300,
        precision=0.002,
        budget_s=asked.budget,
    )
    distinct = {package.digest: package for package in packages.values()}
    purpose = f"hand-over {session + 1}"
    records = bench.measurer.measure([*distinct.values()], purpose, options, paired=True)
    by_digest = dict(zip(distinct, records, strict=True))
    return {name: by_digest[package.digest] for name, package in packages.items()}


def about(package):
    """How many segments there are, what crosses, and what of it in blocks."""
    manifest = package.manifest
    crossing = {n for s in manifest["segments"] for n in s["outputs"]} - {*manifest["outputs"]}
    return {
        "segments": len(manifest["segments"]),
        "ncnn_layers": sum(
            layer["primitive"].startswith("ncnn/")
            for segment in manifest["segments"]
            for layer in segment["layers"]
        ),
        "crossing": len(crossing),
        "blocked": sum("layout" in manifest["tensors"][name] for name in crossing),
    }


def ratios(runs, packages, mixed):
    """Of the whole engines and the same plan with ONNX's order to each blocked plan."""
    found = {}
    for plan in mixed:
        for name in packages:
            if "," in name and name != f"{plan}, nchw":
                continue
            parts = [
                turn_ratios(run[name].runs_ms, run[f"{plan}, blocked"].runs_ms).tolist()
                for run in runs
            ]
            found[f"{name} / {plan}, blocked"] = summary(parts)
    return found


def summary(parts):
    values = np.sort(np.concatenate(parts))
    reach = 0.98 * np.sqrt(len(values))  # 1.96 × √(n/4): ranks of the median's 95 % interval
    low = max(0, int(len(values) / 2 - reach))
    high = min(len(values) - 1, int(np.ceil(len(values) / 2 + reach)))
    return {
        "ratio": float(np.median(values)),
        "ci95": [float(values[low]), float(values[high])],
        "pairs": len(values),
        "of_sessions": [float(np.median(part)) for part in parts],
    }


def line(network, row):
    lines = [network]
    for name, package in row["packages"].items():
        ms = "  ".join(f"{value:.2f}" for value in row["latency_ms"][name])
        lines.append(
            f"  {name:24} {ms} ms  {package['segments']} segments, {package['ncnn_layers']} layers "
            f"in ncnn, {package['blocked']} of {package['crossing']} tensors handed over in blocks"
        )
    for name, found in row["ratios"].items():
        low, high = found["ci95"]
        lines.append(f"  {name:42} {found['ratio']:.3f} [{low:.3f}, {high:.3f}]")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
