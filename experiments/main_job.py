"""The main job on six networks: `qsdnn search`, each from an empty store, one after another.

    python experiments/main_job.py                       # all six, results/main_job.json
    python experiments/main_job.py --networks kws1 kws9  # some

Prints a row a network: the plan's latency and the best uniform plan's in the final interleaved
measurement, the speed-up with its 95 % interval, the cost model's error on held-out plans, the gap
of Q-learning to the proven optimum of the cost model, and the wall time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NETWORKS = ("resnet50", "googlenet", "mobilenet-v2", "squeezenet", "kws1", "kws9")
RESULTS = Path(__file__).parent / "results" / "main_job.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--engines", default="onnxruntime,openvino,blas")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--seed", default="0")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for network in asked.networks:
            rows[network] = search(Path(scratch), network, asked)
            print(line(network, rows[network]), flush=True)
    asked.output.parent.mkdir(exist_ok=True)
    content = {"command": " ".join(["python", *sys.argv]), "machine": machine(), "rows": rows}
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine():
    """The processor's name, and how many cores are ours."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {name}"


def search(scratch, network, asked):
    model = f"{network}.onnx"  # below scratch: results name no folder of this machine
    run(scratch, "example", network, "-o", model)
    options = ["--engines", asked.engines, "--threads", asked.threads, "--seed", asked.seed]
    store, plan = f"{network}.db", f"{network}.json"
    text = run(scratch, "search", model, *options, "--store", store, "-o", plan, "--json")
    return json.loads(text)


def run(folder, *words):
    command = [sys.executable, "-m", "qsdnn", *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def line(network, found):
    low, high = found["speedup_ci95"]
    model = found["cost_model"]
    return (
        f"{network:14} {found['measured_ms']:8.3f} ms  best uniform "
        f"{found['best_uniform']['measured_ms']:8.3f} ({found['best_uniform']['name']})  "
        f"speed-up {found['speedup_vs_best_uniform']:.3f} [{low:.3f}, {high:.3f}]  "
        f"held-out {model['error_mean']:.1%} max {model['error_max']:.1%}  "
        f"gap {found['gap_to_optimum']:.2%}  {found['wall_s']:.0f} s  "
        f"verified {found['verified']}"
    )


if __name__ == "__main__":
    main()
