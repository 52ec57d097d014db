"""The cost model's error on real mixed plans that it was not fitted to, by network and threads.

    python experiments/held_out.py                                # 8 networks, 1 and 2 threads
    python experiments/held_out.py --networks kws1 --threads 1    # some

For each network and number of threads: the uniform plans are profiled, random mixed plans of four
engines are measured (`qsdnn.tuning.start.initial_design`), the model is fitted to the first
`--fitted` of them and predicts the `--held-out` others. What was noisy is measured up to three
times, each time beside
the best uniform plan, and the median taken. Reported: mean, 90th percentile and largest of the
relative errors, and how many plans are within the 95 % interval of their prediction. Errors are
against the latency on an undisturbed machine (`Record.quiet_ms`, corrected for drift);
`median_mean` is the mean error against the plain median of the runs. `by_fitted` has the mean error
of models fitted to fewer plans, and the spread of their predictions, which is what they say of it.

About 3 minutes a row on two quiet cores. All measurements are stored: interrupted, the same command
goes on, and results/held_out.json is written after each row.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from qsdnn.board import Trust, open_board
from qsdnn.cost.fit import fit
from qsdnn.listener import Silent
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.initial_design import mixed_plan
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

NETWORKS = (
    *("resnet50", "resnet18", "googlenet", "mobilenet-v2", "squeezenet", "shufflenet-v2"),
    *("kws1", "ds_kws1"),
)
ENGINES = ("lne", "ncnn", "onnxruntime", "openvino")
HERE = Path(__file__).parent
SESSIONS = 3
FEWER = (0, 4, 8, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--fitted", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", default="local")
    parser.add_argument("--store", default="held_out.db")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "held_out.json")
    asked = parser.parse_args()

    rows = {}
    for threads in asked.threads:
        for network in asked.networks:
            rows[f"{network}, {threads} threads"] = row = study(network, threads, asked)
            print(line(network, threads, row), flush=True)
            write(asked.output, rows)


def study(network, threads, asked):
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board(asked.board) as board,
        Store(asked.store) as store,
    ):
        model = example(network, Path(folder))
        config = SearchConfig(model=model, engines=ENGINES, threads=threads, seed=asked.seed)
        bench = prepare(config, board, store, Silent(), Path(folder)).bench
        measured = race(bench)
        space, measured = usable(bench.space, measured)
        bench = bench.within(space)
        plans = random_plans(bench.space, measured.layer_ms, asked)
        trials = [t for t in bench.in_groups(plans, measured.best[:1]) if t.ok]
        fitted, held_out = trials[: asked.fitted], trials[asked.fitted :]
        beliefs = {n: fitted_to(fitted[:n], bench, measured) for n in (*FEWER, asked.fitted)}
        belief = beliefs[asked.fitted]
        tested = [test(belief, bench, measured, trial) for trial in held_out]
        latency_ms = np.array([plan["latency_ms"] for plan in tested])
        return {
            "layers": len(bench.space.layers),
            "domains": list(bench.space.domains),
            "noise": belief.noise,
            "by_fitted": {
                n: of_all(belief, [t.observations(bench.space) for t in held_out], latency_ms)
                for n, belief in beliefs.items()
            },
            "plans": tested,
        }


def fitted_to(trials, bench, measured):
    seen = [trial for trial in [*measured.trials.values(), *trials] if trial.ok]
    observations = [o for trial in seen for o in trial.observations(bench.space)]
    return fit(bench.space, measured.layer_ms, observations)


def of_all(belief, plans, latency_ms):
    return {
        "mean": float(np.abs(belief.latency_ms(plans) / latency_ms - 1).mean()),
        "spread": float((belief.spread_ms(plans) / latency_ms).mean()),
    }


def example(network, folder):
    model = folder / f"{network}.onnx"
    command = [sys.executable, "-m", "qsdnn", "example", network, "-o", str(model)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return model


def random_plans(space, layer_ms, asked):
    rng = np.random.default_rng(asked.seed)
    return distinct_plans(space, layer_ms, asked.fitted + asked.held_out, rng)


def distinct_plans(space, layer_ms, count, rng):
    plans = {}
    for _ in range(50 * count):  # small networks have few
        plan = mixed_plan(space, layer_ms, rng)
        plans.setdefault(plan.tobytes(), plan)
        if len(plans) == count:
            break
    return list(plans.values())


def test(belief, bench, measured, trial):
    sessions = [trial]
    while sessions[-1].record.trust is not Trust.STABLE and len(sessions) < SESSIONS:
        purpose = f"plan {len(sessions) + 1}"
        sessions += bench.in_groups([trial.choice], measured.best[:1], purpose)
    sessions = [session for session in sessions if session.ok]
    latency_ms = median(session.latency_ms for session in sessions)
    plan = [trial.observations(bench.space)]
    low, high = belief.intervals_ms(plan)[0].tolist()
    predicted_ms = float(belief.latency_ms(plan)[0])
    return {
        "predicted_ms": predicted_ms,
        "interval_ms": [low, high],
        "latency_ms": latency_ms,
        "median_ms": median(session.record.latency_ms for session in sessions),
        "error": predicted_ms / latency_ms - 1,
        "covered": bool(low <= latency_ms <= high),
        "segments": len(trial.segments),
        "sessions": len(sessions),
        "trust": sessions[-1].record.trust.value,
    }


def line(network, threads, row):
    found = summary(row)
    return (
        f"{network:16} {threads} thread{'s' if threads > 1 else ' '} {found['plans']:3} plans  "
        f"mean {found['mean']:.1%}  p90 {found['p90']:.1%}  max {found['max']:.1%}  "
        f"in 95 % interval {found['coverage95']:.0%}  against medians {found['median_mean']:.1%}"
    )


def summary(row):
    errors = np.abs([plan["error"] for plan in row["plans"]])
    plain = [abs(plan["predicted_ms"] / plan["median_ms"] - 1) for plan in row["plans"]]
    return {
        "plans": len(errors),
        "mean": float(errors.mean()),
        "p90": float(np.quantile(errors, 0.9)),
        "max": float(errors.max()),
        "coverage95": float(np.mean([plan["covered"] for plan in row["plans"]])),
        "median_mean": float(np.mean(plain)),
    }


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": machine(),
        "rows": {name: {"summary": summary(row), **row} for name, row in rows.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine():
    """The processor's name, and how many cores are ours."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {name}"


if __name__ == "__main__":
    main()
