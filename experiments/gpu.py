"""What choosing by layer gains on a GPU: plans against cuDNN, onnxruntime and torch.compile.

    python experiments/gpu.py                                            # nine networks, 8 minutes
    python experiments/gpu.py --networks resnet18 --minutes 2
    python experiments/gpu.py --networks kws9 --minutes 1 --engines torch,onnxruntime  # on a CPU

Needs PyTorch, and no network: CONTRIBUTING says how to carry the rest. For each network, each step
in its share of the time:

- a search in fp32; reported: the plan, the best of its single engines (a uniform plan of `torch` on
  a GPU is one CUDA graph, as is onnxruntime's CUDA provider), their ratio with its interval, what
  was read back, and the sensors while the final ran;
- a random search with as many measurements;
- a search with tf32 and fp16 allowed, at 40 dB of signal to noise, on random inputs;
- torch.compile of the same network (``reduce-overhead``), its runs interleaved with the plan's in
  one process; there is none of a network with an operator that torch_onnx.py lacks.

Then `--mixed` networks are searched with engines of the CPU beside. Writes results/gpu.json after
each network. Not run on a GPU yet.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import held_out
import numpy as np

NETWORKS = (
    *("resnet18", "resnet50", "googlenet", "vgg19", "mobilenet-v2", "squeezenet"),
    *("densenet121", "efficientnet-b0", "vit-tiny"),
)
MIXED = ("kws9", "vit-tiny")
SHARES = {"fp32": 0.4, "random": 0.15, "reduced": 0.25, "compile": 0.2}
RESULTS = Path(__file__).parent / "results" / "gpu.json"
TURNS, RUNS = 30, 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--mixed", nargs="*", default=MIXED, help="with engines of the CPU beside")
    parser.add_argument("--engines", default="torch,onnxruntime")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--board", default="local")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--race", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.race:
        print(json.dumps(race(*asked.race)))
        return
    each_s = 60 * asked.minutes / (len(asked.networks) + len(asked.mixed) / 2)
    rows = {}
    for network in (*asked.networks, *(f"{name}, CPU and GPU" for name in asked.mixed)):
        with tempfile.TemporaryDirectory() as folder:
            rows[network] = row = study(network, each_s, asked, Path(folder))
        print(network, json.dumps(row.get("said", row)), flush=True)
        content = {
            "command": " ".join(["python", *sys.argv]),
            "machine": held_out.machine(),
            "means": means(rows),
            "rows": rows,
        }
        asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(means(rows)))


def study(network, each_s, asked, folder):
    name, _, mixed = network.partition(",")
    model = held_out.example(name, folder)
    if mixed:
        found = search(model, 0.5 * each_s, asked, "--engines", f"{asked.engines},lne")
        return {"fp32": found, "said": brief(found)}
    began = time.monotonic()
    fp32 = search(model, SHARES["fp32"] * each_s, asked, "--engines", asked.engines)
    row = {"fp32": fp32, "said": brief(fp32)}
    if "error" in fp32:
        return row
    count = str(fp32["measurements"]["taken"])
    random = ("--agent", "random", "--measurements", count, "--remeasure")
    row["random"] = search(
        model, SHARES["random"] * each_s, asked, "--engines", asked.engines, *random
    )
    samples(model, folder / "samples.npz")
    precisions = [word for name in ("fp32", "tf32", "fp16") for word in ("--precision", name)]
    reduced = ("--min-sqnr", "40", "--calibration", str(folder / "samples.npz"), *precisions)
    row["reduced"] = search(
        model, SHARES["reduced"] * each_s, asked, "--engines", asked.engines, *reduced
    )
    left_s = each_s - (time.monotonic() - began)
    row["compile"] = compiled(model, folder, max(left_s, SHARES["compile"] * each_s))
    row["said"] |= {way: brief(row[way]) for way in ("random", "reduced")}
    row["said"]["compile"] = row["compile"].get("ratio", row["compile"].get("error"))
    return row


def search(model, budget_s, asked, *more):
    plan = model.with_name("plan.json")
    words = [sys.executable, "-m", "qsdnn", "search", str(model), "--board", asked.board]
    words += ["--store", str(model.with_name("store.db")), "-o", str(plan), "--json"]
    words += ["--budget", f"{max(1, round(budget_s))}s", *more]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()[-400:]}
    told = json.loads(done.stdout)
    kept = ("measured_ms", "ci95_ms", "primitives", "final", "gap_to_optimum", "measurements",
            "speedup_vs_best_uniform", "speedup_ci95", "best_uniform", "accuracy", "verified",
            "trust", "wall_s")  # fmt: skip
    return {**{key: told[key] for key in kept}, "sensors": sensors(model.with_name("store.db"))}


def sensors(store):
    """What the sensors said around the last sitting of the final."""
    with sqlite3.connect(store) as base:
        rows = base.execute(
            "SELECT record FROM measurements WHERE purpose LIKE 'final%' "
            "ORDER BY rowid DESC LIMIT 1"
        ).fetchall()
    context = json.loads(rows[0][0])["context"] if rows else {}
    return {key: context[key] for key in ("before", "after", "power_mw") if key in context}


def samples(model, path, count=16):
    from qsdnn.model import load_graph
    from qsdnn.model.feeds import random_feeds

    with tempfile.TemporaryDirectory() as folder:
        graph = load_graph(model, workdir=Path(folder))
        tensors = {name: graph.tensors[name] for name in graph.inputs}
        drawn = [random_feeds(tensors, seed) for seed in range(count)]
    np.savez(path, **{name: np.stack([feeds[name] for feeds in drawn]) for name in tensors})


def compiled(model, folder, limit_s):
    package = folder / "package"
    plan = model.with_name("plan.json")
    words = [sys.executable, "-m", "qsdnn", "package", str(plan), "--model", str(model)]
    subprocess.run([*words, "-o", str(package)], check=True, capture_output=True)
    again = [sys.executable, __file__, "--race", str(model), str(package)]
    try:
        done = subprocess.run(again, check=False, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"error": f"not compiled within {limit_s:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-400:]}
    return json.loads(done.stdout.splitlines()[-1])


def race(model, package):
    """The plan and the compiled network in one process, in turns of some runs each."""
    import onnx
    import torch
    from torch_onnx import TorchGraph

    from qsdnn_runtime import Session

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network = TorchGraph(onnx.load(model)).to(device).eval()
    with Session(package) as session, torch.inference_mode():
        (told,) = session.get_inputs()
        x = np.random.default_rng(0).standard_normal(told.shape).astype(np.float32)
        want = session.run(None, {told.name: x})[0]
        function, here = torch.compile(network, mode="reduce-overhead"), torch.from_numpy(x)

        def theirs():
            return function(here.to(device, non_blocking=True)).cpu()

        for _ in range(5):
            found = theirs().numpy()
        session.bind({told.name: x})
        ms = {"plan": [], "compile": []}
        for _ in range(TURNS):
            for name, act in (("plan", session.run_bound), ("compile", theirs)):
                act()
                start = time.perf_counter()
                for _ in range(RUNS):
                    act()
                ms[name].append((time.perf_counter() - start) * 1e3 / RUNS)
    ratios = np.array(ms["compile"]) / np.array(ms["plan"])
    low, high = np.quantile(ratios, [0.1, 0.9])
    return {
        "ratio": float(np.median(ratios)),
        "middle_80": [float(low), float(high)],
        "latency_ms": {name: float(np.median(times)) for name, times in ms.items()},
        "max_error": float(np.abs(found - want).max() / np.abs(want).max()),
    }


def brief(found):
    if "error" in found:
        return {"error": found["error"][-120:]}
    return {"ms": found["measured_ms"], "over_best_uniform": found["speedup_vs_best_uniform"]}


def means(rows):
    """Geometric means over the networks that have a number."""

    def mean(values):
        known = [value for value in values if value]
        return float(np.exp(np.mean(np.log(known)))) if known else None

    alone = [row for name, row in rows.items() if "," not in name]
    return {
        "fp32_over_best_uniform": mean(row["fp32"].get("speedup_vs_best_uniform") for row in alone),
        "reduced_over_best_uniform": mean(
            row.get("reduced", {}).get("speedup_vs_best_uniform") for row in alone
        ),
        "over_compile": mean(row.get("compile", {}).get("ratio") for row in alone),
    }


if __name__ == "__main__":
    main()
