"""The plans that searches end with, against each engine that runs the whole network by itself.

    python experiments/against_engines.py                        # 12 networks, 1 thread
    python experiments/against_engines.py --threads 2
    python experiments/against_engines.py --networks kws1 vgg19 --budget 1m
    python experiments/against_engines.py --more                 # four networks beside the 12

For each network: `qsdnn search` in fp32 with the engines below, as a user types it; then its plan
and each engine bare: onnxruntime and OpenVINO with their own fastest loop on the user's file, ncnn
and the native engine as one segment, each layer as the engine does it by default. Beside them the
native engine's fastest primitive of each layer, as profiled in its uniform plans. All are measured
interleaved, in nine sittings: processes that load them in another order. A ratio is a time over
the plan's, median of the sittings, with its 95 % interval: above 1 means that the plan is faster.
The plain loops (`lne/vanilla`) run three times only: their ratio is one of medians.

`free_ms` is what no plan can be below: the sum of each layer's fastest primitive, as profiled in
the uniform plans, as if no boundary cost anything; `at_most`, the fastest uniform plan's time over
it, bounds what any choice of these primitives could gain over the best of them.

Beside the rows: the geometric means of the ratios to the best engine of others of each network,
and of those to onnxruntime; the smallest; and what each step adds: the native engine's own
choices, each layer's fastest of its primitives, the plan of the search. Two to three minutes a
network on a quiet machine. An engine that cannot run a network is left out of its row. Everything
measured is stored in `--folder`: interrupted, the same command goes on.
"""

import argparse
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import held_out
import numpy as np

from qsdnn.board import SITTINGS, MeasureOptions, State, open_board
from qsdnn.errors import UnsupportedLayerError
from qsdnn.listener import Silent
from qsdnn.measure.paired import paired_ratio
from qsdnn.plan import choices, read_plan
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race

NETWORKS = (
    *("vgg19", "resnet50", "resnet18", "googlenet", "mobilenet-v2", "squeezenet", "densenet121"),
    *("shufflenet-v2", "kws1", "kws3", "kws9", "ds_kws1"),
)
MORE = ("efficientnet-b0", "mobilenet-v3-large", "convnext-atto", "vit-tiny")
ENGINES = ("onnxruntime", "openvino", "ncnn", "lne")
OTHERS = ("onnxruntime", "openvino", "ncnn")
RACED = "lne, fastest of each layer"
RESULTS = Path(__file__).parent / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--more", action="store_const", dest="networks", const=MORE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", default="80s")
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
    (ratios, latency_ms, costs), bound = compare(model, plan, store, asked)
    engines = {engine: r for engine, r in ratios.items() if engine != "plan"}
    return {
        "speedup_over_best_uniform": found["speedup_vs_best_uniform"],
        "best_uniform": found["best_uniform"]["name"],
        "gap_to_optimum": found["gap_to_optimum"],
        "verified": found["verified"],
        "wall_s": found["wall_s"],
        "segments": engines_of(plan),
        "latency_ms": latency_ms,
        "peak_mb_and_load_ms": costs,
        **bound,
        "ratios": engines,
        "best_engine": min(
            (name for name in engines if name in OTHERS), key=lambda name: engines[name]["ratio"]
        ),
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
        choice = choices(read_plan(path), graph, bench.space, str(path))
        packages = {"plan": bench.builder.build(choice)}
        for engine in (*OTHERS, "lne"):
            with suppress(UnsupportedLayerError):
                packages[engine] = bench.builder.bare(engine)
        packages[RACED] = bench.builder.build(fastest(bench.space, profiled.layer_ms, "lne"))
        plain = bench.builder.bare("lne", "vanilla")
        found = ratios_of(bench.measurer, packages, plain, asked.threads)
        return found, bound_of(profiled)


def fastest(space, layer_ms, engine):
    """The engine's fastest primitive of each layer; any engine's where it has none."""
    own = [primitive.engine == engine for primitive in space.primitives]
    known = np.where(space.mask & np.isfinite(layer_ms), layer_ms, np.inf)
    ours = np.where(own, known, np.inf)
    rows = np.where(np.isfinite(ours).any(axis=1, keepdims=True), ours, known)
    return [space.primitives[i] for i in rows.argmin(axis=1)]


def bound_of(profiled):
    free_ms = float(np.nanmin(profiled.layer_ms, axis=1).sum())
    return {"free_ms": free_ms, "at_most": profiled.best[0].latency_ms / free_ms}


def ratios_of(measurer, packages, plain, threads):
    distinct = {package.digest: package for package in packages.values()}
    options = MeasureOptions(
        threads=threads,
        min_runs=30,
        max_runs=600,
        precision=0.0,
        budget_s=30.0,
        sittings=SITTINGS,
        memory=True,
    )
    records = measurer.measure(list(distinct.values()), "engines", options, paired=True)
    of = {digest: r for digest, r in zip(distinct, records, strict=True) if r.state is State.OK}
    found = {name: of[p.digest] for name, p in packages.items() if p.digest in of}
    ratios = {}
    for name, record in found.items():
        ratio, *ci95 = paired_ratio(record, found["plan"])
        ratios[name] = {"ratio": ratio, "ci95": ci95}
    few = MeasureOptions(threads=threads, min_runs=3, max_runs=3, precision=0.0, budget_s=60.0)
    (slow,) = measurer.measure([plain], "vanilla", few)
    if slow.state is State.OK:
        found["vanilla"] = slow
        ratios["vanilla"] = {"ratio": slow.latency_ms / found["plan"].latency_ms}
    return (
        ratios,
        {name: record.latency_ms for name, record in found.items()},
        {name: [record.peak_memory_mb, record.load_ms] for name, record in found.items()},
    )


def means(rows):
    """Of the ratios to each network's best engine, and to onnxruntime."""
    best = of_engine(rows, "")
    image = [r for name, r in zip(rows, best, strict=True) if "kws" not in name]
    steps = {name: best / of_engine(rows, name) for name in ("lne", RACED)}
    return {
        "networks": len(rows),
        "over_best_engine": geometric(best),
        "image_networks_over_best_engine": geometric(image) if image else None,
        "smallest_over_best_engine": float(min(best)),
        "over_onnxruntime": geometric(of_engine(rows, "onnxruntime")),
        "steps_over_best_engine": {
            **{name: geometric(ratios) for name, ratios in steps.items()},
            "plan": geometric(best),
        },
    }


def of_engine(rows, name):
    """An engine's ratio in each network; of the best engine of others for an empty name."""
    return np.array([row["ratios"][name or row["best_engine"]]["ratio"] for row in rows.values()])


def geometric(ratios):
    return float(np.exp(np.mean(np.log(ratios))))


def line(network, row):
    found = "  ".join(
        f"{name} {r['ratio']:.3f} [{r['ci95'][0]:.3f}, {r['ci95'][1]:.3f}]"
        for name, r in row["ratios"].items()
        if "ci95" in r
    )
    plain = row["ratios"].get("vanilla", {}).get("ratio", float("nan"))
    found += f"  vanilla {plain:.0f}"
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
