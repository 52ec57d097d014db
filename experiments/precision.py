"""Plans under a budget of accuracy, against the best uniform plan that keeps the same budget.

    python experiments/precision.py                                    # all networks and budgets
    python experiments/precision.py --networks digits tones --budgets "--max-drop 0.01"

Each row is one `qsdnn search`. digits and tones are trained and have labels; the others have random
weights, random inputs, and no labels: their budgets are in decibels only. Given are the latency of
the plan, its accuracy on data that nothing was chosen with, which uniform plans keep the budget
(int8 among them or not), the paired ratio of the best of these to the plan with its 95 % interval,
the layers in int8 and bf16 as read back, and the search's wall time and peak memory on the host.

tones was made so that uniform int8 fails (see experiments/train_tones.py); how often real networks
behave so, it does not say. About 3 minutes a row; interrupted, the same command goes on.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import geometric_mean

import held_out
import noise

NETWORKS = ("digits", "tones", "resnet18", "mobilenet-v2", "googlenet", "resnet50")
DROPS = ("--max-drop 0", "--max-drop 0.005", "--max-drop 0.01")
DECIBELS = ("--min-sqnr 40", "--min-sqnr 30", "--min-sqnr 20")
RESULTS = Path(__file__).parent / "results" / "precision.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--budgets", nargs="+", default=(*DROPS, *DECIBELS))
    parser.add_argument("--engines", default="onnxruntime,openvino")
    parser.add_argument("--time", default="2m", help="of each search")
    parser.add_argument("--store", default="precision.db")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for network in asked.networks:
            model, data = noise.example(network, Path(folder))
            for budget in asked.budgets:
                if budget in DROPS and network not in noise.TRAINED:
                    continue
                rows.append({"network": network, "budget": budget, **search(model, data, budget,
                                                                            asked)})  # fmt: skip
                print(line(rows[-1]), flush=True)
                write(asked.output, rows)
    print(json.dumps(summary(rows)))


def search(model, data, budget, asked):
    plan = model.with_suffix(".json")
    words = ["search", str(model), "--calibration", str(data), *budget.split(), "--json"]
    words += ["--engines", asked.engines, "--budget", asked.time, "--store", asked.store]
    done = subprocess.run(
        [sys.executable, "-m", "qsdnn", *words, "-o", str(plan)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        return {"exit_code": done.returncode, "error": done.stderr.strip().splitlines()[-2:]}
    found = json.loads(done.stdout)
    layers = json.loads(plan.read_text(encoding="utf-8"))["layers"]
    feasible = [b["name"] for b in found["baselines"] if b["feasible"]]
    return {
        "exit_code": 0,
        "latency_ms": found["measured_ms"],
        "accuracy": found["accuracy"],
        "uniform_int8_keeps_it": any(name.endswith("/int8") for name in feasible),
        "best_uniform": found["best_uniform"]["name"],
        "speedup": found["speedup_vs_best_uniform"],
        "ci95": found["speedup_ci95"],
        "precisions": Counter(layer["primitive"].rsplit("/", 1)[1] for layer in layers),
        "measurements": found["measurements"]["taken"] + found["measurements"]["cached"],
        "wall_s": found["wall_s"],
        "host_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
        "trust": found["trust"],
    }


def line(row):
    if row["exit_code"]:
        return (
            f"{row['network']:13} {row['budget']:18} exit code {row['exit_code']}: {row['error']}"
        )
    low, high = row["ci95"]
    accuracy = row["accuracy"]
    return (
        f"{row['network']:13} {row['budget']:18} {row['latency_ms']:8.3f} ms  "
        f"{accuracy['metric']} drop {accuracy['drop']:.4f}, {accuracy['sqnr_db']:.1f} dB  "
        f"{row['speedup']:.3f}× [{low:.3f}, {high:.3f}] {row['best_uniform']}  "
        f"{dict(row['precisions'])}  {row['wall_s']:.0f} s"
    )


def summary(rows):
    """Geometric means of the speed-up, over all and where uniform int8 breaks the budget."""
    done = [row for row in rows if not row["exit_code"]]
    hard = [row["speedup"] for row in done if not row["uniform_int8_keeps_it"]]
    return {
        "rows": len(rows),
        "failed": len(rows) - len(done),
        "all": geometric_mean([row["speedup"] for row in done]) if done else math.nan,
        "where_uniform_int8_fails": geometric_mean(hard) if hard else None,
        "of_these": len(hard),
    }


def write(path, rows):
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "summary": summary(rows),
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
