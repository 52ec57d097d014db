"""The plans that searches end with, against MNN, which is no engine of qsdnn's.

    pip install MNN
    python experiments/against_mnn.py --folder against_engines

Reads the networks and plans that `against_engines.py` left in its folder. MNN converts each network
by its Python function, runs it in fp32 on as many threads, and the outputs of both are compared.
Nine processes load both, and take turns of four runs each; a ratio is MNN's time over the plan's,
the median of the processes, with its 95 % interval. Half a minute a network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import held_out
import numpy as np

from qsdnn.board import SITTINGS
from qsdnn_runtime import Session
from qsdnn_runtime.program.values import max_error
from qsdnn_runtime.server.trust import median_interval

TURNS, RUNS, LIMIT_S = 30, 4, 2.0
RESULTS = Path(__file__).parent / "results"
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("against_engines"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sitting", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.sitting:
        print(json.dumps(sitting(*asked.sitting, asked.threads)))
        return
    rows = {}
    for plan in sorted(asked.folder.glob(f"*-{asked.threads}.json")):
        network = plan.stem.rpartition("-")[0]
        rows[network] = row = study(asked.folder / f"{network}.onnx", plan, asked.threads)
        low, high = row["ci95"]
        print(f"{network:18} {row['ratio']:.3f} [{low:.3f}, {high:.3f}]", flush=True)
        content = {
            "command": " ".join(["python", *sys.argv]),
            "machine": held_out.machine(),
            "over_mnn": float(np.exp(np.mean(np.log([r["ratio"] for r in rows.values()])))),
            "rows": rows,
        }
        path = RESULTS / f"against_mnn_{asked.threads}.json"
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"geometric mean {content['over_mnn']:.3f}")


def study(model, plan, threads):
    with tempfile.TemporaryDirectory() as scratch:
        package, converted = Path(scratch, "package"), Path(scratch, "network.mnn")
        qsdnn = [sys.executable, "-m", "qsdnn", "package", plan, "--model", model, "-o", package]
        subprocess.run(qsdnn, check=True, capture_output=True)
        words = ["mnnconvert", "-f", "ONNX", "--modelFile", model, "--MNNModel", converted]
        convert = [sys.executable, "-c", CONVERT, *words[1:], "--bizCode", "none"]
        subprocess.run(convert, check=True, capture_output=True)
        again = [sys.executable, __file__, "--threads", str(threads), "--sitting"]
        sittings = []
        for _ in range(SITTINGS):
            told = subprocess.run(
                [*again, package, converted], check=True, capture_output=True, text=True
            ).stdout
            sittings.append(json.loads(told.splitlines()[-1]))
    ratios = [mnn / ours for ours, mnn, _ in sittings]
    return {
        "ratio": float(np.median(ratios)),
        "ci95": median_interval(ratios),
        "latency_ms": {
            name: float(np.median([one[i] for one in sittings]))
            for i, name in enumerate(("plan", "mnn"))
        },
        "max_error": max(one[2] for one in sittings),
    }


def sitting(package, converted, threads):
    """The median times of one process in ms, the plan's and MNN's, and their largest difference."""
    import MNN

    with Session(package) as session:
        (x,), (y,) = session.get_inputs(), session.get_outputs()
        values = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
        binding = session.bind({x.name: values})
        network = MNN.Interpreter(str(converted))
        mnn = network.createSession({"numThread": threads, "precision": "high", "backend": "CPU"})
        given = tensor(MNN, values)
        network.getSessionInput(mnn).copyFrom(given)
        network.runSession(mnn)
        made = tensor(MNN, np.zeros(y.shape, np.float32))
        network.getSessionOutput(mnn).copyToHostTensor(made)
        session.run_bound()
        ours = {y.name: binding.outputs[y.name].copy()}
        theirs = {y.name: np.array(made.getData(), np.float32).reshape(y.shape)}
        turns = [lambda: network.runSession(mnn), session.run_bound]
        times = [[], []]
        end = time.perf_counter() + LIMIT_S
        for number in range(TURNS):
            if number > 2 and time.perf_counter() > end:
                break
            for which in (number % 2, 1 - number % 2):
                turns[which]()  # finds caches as the other left them: not counted
                for _ in range(RUNS):
                    start = time.perf_counter()
                    turns[which]()
                    times[which].append((time.perf_counter() - start) * 1e3)
        return [float(np.median(times[1])), float(np.median(times[0])), max_error(theirs, ours)]


def tensor(library, array):
    kind = library.Tensor_DimensionType_Caffe
    return library.Tensor(array.shape, library.Halide_Type_Float, array, kind)


if __name__ == "__main__":
    main()
