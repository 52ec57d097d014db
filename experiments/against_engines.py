"""The plans that searches end with, against each engine that runs the whole network by itself.

    python experiments/against_engines.py                        # 12 networks, 1 thread
    python experiments/against_engines.py --threads 2
    python experiments/against_engines.py --networks kws1 vgg19 --budget 1m

For each network: `qsdnn search` in fp32 with all engines, as a user types it; then its plan,
onnxruntime and OpenVINO bare (their own fastest loop on the user's file, their defaults, nothing of
ours around it), and ncnn, which reads no ONNX: its fastest uniform plan, one segment where ncnn has
all layers. All are measured interleaved, in nine sittings: processes that load them in another
order. A ratio is the engine's time over the plan's, median of the sittings, with its 95 % interval:
above 1 means that the plan is faster. Where the plan is ncnn's uniform plan it is 1.

`free_ms` is what no plan can be below: the sum of each layer's fastest primitive, as profiled in
the uniform plans, as if no boundary cost anything; `at_most`, the fastest uniform plan's time over
it, bounds what any choice of these primitives could gain over the best of them.

Beside the rows: the geometric mean of the ratios to the best engine of each network, and of those
to onnxruntime, and the smallest. Two to four minutes a network on a quiet machine. Everything
measured is stored in `--folder`: interrupted, the same command goes on.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import held_out
import numpy as np

from qsdnn.board import SITTINGS, MeasureOptions, State, open_board
from qsdnn.listener import Silent
from qsdnn.measure.measurer import paired_ratio
from qsdnn.plan import choices, read_plan
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race

NETWORKS = (
    *("vgg19", "resnet50", "resnet18", "googlenet", "mobilenet-v2", "squeezenet", "densenet121"),
    *("shufflenet-v2", "kws1", "kws3", "kws9", "ds_kws1"),
)
ENGINES = ("onnxruntime", "openvino", "ncnn", "blas")
BARE = ("onnxruntime", "openvino")
RESULTS = Path(__file__).parent / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--folder", type=Path, default=Path("against_engines"))
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    output = asked.output or RESULTS / f"against_engines_{asked.threads}.json"
    asked.folder.mkdir(parents=True, exist_ok=True)

    rows = {}
    for network in asked.networks:
        rows[network] = row = study(network, asked)
        print(line(network, row), flush=True)
        write(output, rows)
    print(json.dumps(means(rows)))


def study(network, asked):
    name = f"{network}-{asked.threads}"
    model = asked.folder / f"{network}.onnx"
    if not model.exists():
        held_out.example(network, asked.folder)
    plan, store = asked.folder / f"{name}.json", asked.folder / f"{name}.db"
    words = [sys.executable, "-m", "qsdnn", "search", str(model), "--threads", str(asked.threads)]
    words += ["--engines", ",".join(ENGINES), "--budget", asked.budget]
    words += ["--store", str(store), "-o", str(plan), "--json"]
    told = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(told)
    (ratios, latency_ms), bound = compare(model, plan, store, asked)
    engines = {engine: r for engine, r in ratios.items() if engine != "plan"}
    return {
        "speedup_over_best_uniform": found["speedup_vs_best_uniform"],
        "best_uniform": found["best_uniform"]["name"],
        "gap_to_optimum": found["gap_to_optimum"],
        "verified": found["verified"],
        "wall_s": found["wall_s"],
        "segments": engines_of(plan),
        "latency_ms": latency_ms,
        **bound,
        "ratios": engines,
        "best_engine": min(engines, key=lambda engine: engines[engine]["ratio"]),
    }


def engines_of(path):
    """Layers on each engine."""
    names = [choice.primitive.split("/")[0] for choice in read_plan(path).layers]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def compare(model, path, store, asked):
    folder = asked.folder / "built"
    folder.mkdir(exist_ok=True)
    config = SearchConfig(model=model, engines=ENGINES, threads=asked.threads)
    with open_board("local") as board, Store(str(store)) as database:
        prepared = prepare(config, board, database, Silent(), folder)
        bench, graph = prepared.bench, prepared.graph
        profiled = race(bench)
        trials = profiled.trials
        choice = choices(read_plan(path), graph, bench.space, str(path))
        packages = {"plan": bench.builder.build(choice)}
        packages |= {engine: bench.builder.bare(engine) for engine in BARE}
        ncnn = [t for name, t in trials.items() if t.ok and name.startswith("ncnn/")]
        if ncnn:
            packages["ncnn"] = min(ncnn, key=lambda trial: trial.latency_ms).package
        return ratios_of(bench.measurer, packages, asked.threads), bound_of(profiled)


def bound_of(profiled):
    free_ms = float(np.nanmin(profiled.layer_ms, axis=1).sum())
    return {"free_ms": free_ms, "at_most": profiled.best[0].latency_ms / free_ms}


def ratios_of(measurer, packages, threads):
    distinct = {package.digest: package for package in packages.values()}
    options = MeasureOptions(
        threads=threads, min_runs=30, max_runs=600, precision=0.0, budget_s=30.0, sittings=SITTINGS
    )
    records = measurer.measure(list(distinct.values()), "engines", options, paired=True)
    of = {digest: r for digest, r in zip(distinct, records, strict=True) if r.state is State.OK}
    found = {name: of[p.digest] for name, p in packages.items() if p.digest in of}
    ratios = {}
    for name, record in found.items():
        ratio, *ci95 = paired_ratio(record, found["plan"])
        ratios[name] = {"ratio": ratio, "ci95": ci95}
    return ratios, {name: record.latency_ms for name, record in found.items()}


def means(rows):
    """Of the ratios to each network's best engine, and to onnxruntime."""
    best = [row["ratios"][row["best_engine"]]["ratio"] for row in rows.values()]
    default = [row["ratios"]["onnxruntime"]["ratio"] for row in rows.values()]
    return {
        "networks": len(rows),
        "over_best_engine": float(np.exp(np.mean(np.log(best)))),
        "smallest_over_best_engine": min(best),
        "over_onnxruntime": float(np.exp(np.mean(np.log(default)))),
    }


def line(network, row):
    found = "  ".join(
        f"{name} {r['ratio']:.3f} [{r['ci95'][0]:.3f}, {r['ci95'][1]:.3f}]"
        for name, r in row["ratios"].items()
    )
    return f"{network:14} {row['latency_ms']['plan']:8.3f} ms  {found}  {row['segments']}"


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "means": means(rows),
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
