"""How near agents come to the optimum of the cost model: the gap after 100, 300 and 1000 episodes.

    python experiments/optimality.py                        # q-learning: all instances
    python experiments/optimality.py --agents random --instances 100
    python experiments/optimality.py --networks-only        # only the example networks

Two sets. *Drawn*: `qsdnn_envs.synthetic.drawn`, 500 instances, half series-parallel and half
irregular, of 10 to 200 layers and 3 to 20 primitives; no setting was chosen by looking at them
(those of `TUNING` were for that). *Networks*: the cost models under data/cost, made on a two-core
machine by `qsdnn search NET.onnx --threads 1 --cost-model NET.npz` for each example network.

The gap is an agent's best predicted latency over the proven optimum of the cost model, minus 1; its
schedule is stretched over the episodes it is given. Where the optimum is not proven the lower bound
takes its place. Rows are added to results/optimality.json.

About 2 s an instance and core for q-learning; 25 minutes on two busy cores for the whole set.
"""

import argparse
import json
import sys
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent
from qsdnn.cost.file import read_cost
from qsdnn_envs.synthetic import HELD_OUT, drawn

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "optimality.json"
NETWORKS = sorted(path.stem for path in (HERE / "data" / "cost").glob("*.npz"))
EPISODES = (100, 300, 1000)
NEAR = 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", default=["q-learning"])
    parser.add_argument("--presets", nargs="+", default=["default"])
    parser.add_argument("--episodes", nargs="+", type=int, default=EPISODES)
    parser.add_argument("--instances", type=int, default=len(HELD_OUT))
    parser.add_argument("--networks-only", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()

    seeds = [] if asked.networks_only else [*HELD_OUT][: asked.instances]
    with Pool(asked.processes) as pool:
        for name in asked.agents:
            for preset in asked.presets:
                jobs = [(name, preset, asked.episodes, of) for of in [*NETWORKS, *seeds]]
                rows = list(pool.imap(gaps, jobs, chunksize=4))
                title = name if preset == "default" else f"{name}, {preset}"
                parts = {"networks": rows[: len(NETWORKS)], "drawn": rows[len(NETWORKS) :]}
                for part, of in parts.items():
                    if of:
                        summary = summarize(of, asked.episodes)
                        save(title, part, summary, of if part == "networks" else worst(of))
                        print(line(title, part, summary), flush=True)


def gaps(job):
    """The gap of one agent on one instance, and the seconds it took, for each count of episodes."""
    name, preset, episodes, of = job
    cost = read_cost(HERE / "data" / "cost" / f"{of}.npz") if isinstance(of, str) else drawn(of)
    optimum = agent("exact").learn(cost, episodes=1, seed=0)
    found = {}
    for count in episodes:
        began = time.process_time()
        policy = agent(name, preset).learn(cost, episodes=count, seed=0)
        gap = policy.latency_ms / optimum.bound_ms - 1
        found[count] = [max(gap, 0.0), time.process_time() - began]
    layers, primitives = cost.space.mask.shape
    return {
        "instance": of,
        "layers": layers,
        "primitives": primitives,
        "families": len(cost.space.families),
        "proven": optimum.proven,
        "gap": {str(count): gap for count, (gap, _) in found.items()},
        "cpu_s": {str(count): seconds for count, (_, seconds) in found.items()},
    }


def worst(rows):
    """The ten with the largest gaps at the end; all rows would be a long file."""
    return sorted(rows, key=lambda row: -[*row["gap"].values()][-1])[:10]


def summarize(rows, episodes):
    gap = {str(n): np.array([row["gap"][str(n)] for row in rows]) for n in episodes}
    seconds = {n: sum(row["cpu_s"][n] for row in rows) / len(rows) for n in gap}
    return {
        "instances": len(rows),
        "proven": sum(row["proven"] for row in rows),
        "gap": {
            n: {
                "within_0.1%": float((g <= NEAR).mean()),
                "mean": float(g.mean()),
                "p99": float(np.quantile(g, 0.99)),
                "max": float(g.max()),
                "cpu_s": seconds[n],
            }
            for n, g in gap.items()
        },
    }


def save(title, part, summary, rows):
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    command = " ".join(["python", "experiments/optimality.py", *sys.argv[1:]])
    content.setdefault(part, {})[title] = {"command": command, **summary, "rows": rows}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def line(title, part, summary):
    cells = [
        f"{n:>5}: {g['within_0.1%']:7.1%} mean {g['mean']:8.3%} max {g['max']:8.2%}"
        for n, g in summary["gap"].items()
    ]
    proven = f"{summary['proven']}/{summary['instances']} proven"
    return f"{title:24} {part:9} {proven}  " + "  ".join(cells)


if __name__ == "__main__":
    main()
