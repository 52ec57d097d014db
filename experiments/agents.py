"""Every agent at equal numbers of episodes: the gap to the optimum of the cost model.

    python experiments/agents.py                                    # all agents, all instances
    python experiments/agents.py --agents annealing --instances 100
    python experiments/agents.py --agents masked-ppo --networks-only    # needs the group `study`

An episode is one plan looked at. There are two sets of instances: the cost models of the
example networks under data/cost, and 500 drawn ones (half series-parallel, half irregular, 10 to
200 layers, 3 to 20 primitives) on which nothing was tuned. The gap is an agent's best predicted
latency over the proven optimum, minus 1. Where the optimum is not proven its lower bound takes its
place, so that no gap is too small. `greedy`, `uniform` and `exact` need few or no episodes and do
not use more.

Each agent's rows replace those it had in results/agents.json; results/agents.md is the table.
Seconds are processor time of one run, and depend on what else the machine does; gaps do not.
"""

import argparse
import json
import sys
import time
from functools import cache
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent, names
from qsdnn.agents.exact.solver import Exact
from qsdnn.cost.model import read_cost
from qsdnn_envs.synthetic import HELD_OUT, drawn

HERE = Path(__file__).parent
COSTS = HERE / "data" / "cost"
RESULTS = HERE / "results" / "agents.json"
EPISODES = (100, 300, 1000)
NEAR = 1e-3
FEW = ("exact", "greedy", "uniform")
"""More episodes change nothing."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", default=names())
    parser.add_argument("--instances", type=int, default=len(HELD_OUT))
    parser.add_argument("--networks-only", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()

    networks = sorted(path.stem for path in COSTS.glob("*.npz"))
    parts = {"networks": networks}
    if not asked.networks_only:
        parts["drawn"] = list(HELD_OUT)[: asked.instances]
    with Pool(asked.processes) as pool:
        for part, instances in parts.items():
            optima = dict(pool.imap_unordered(optimum, instances, chunksize=4))
            for name in asked.agents:
                counts = EPISODES[:1] if name in FEW else EPISODES
                jobs = [(name, of, counts, asked.seed, optima[of][0]) for of in instances]
                rows = pool.map(gaps, jobs, chunksize=1)
                save(part, name, counts, rows, sum(proven for _, proven in optima.values()))
                print(part, name, json.dumps(summary(counts, rows)), flush=True)


@cache
def cost_of(instance):
    return read_cost(COSTS / f"{instance}.npz") if isinstance(instance, str) else drawn(instance)


def optimum(instance):
    policy = Exact(plans=1).learn(cost_of(instance))
    return instance, (policy.bound_ms, policy.proven)


def new_agent(name):
    if name == "masked-ppo":
        from masked_ppo import MaskedPpo

        return MaskedPpo()
    return agent(name)


def gaps(job):
    """For each number of episodes: the gap, and the seconds of one run."""
    name, instance, counts, seed, bound_ms = job
    row = []
    for episodes in counts:
        began = time.process_time()
        policy = new_agent(name).learn(cost_of(instance), episodes=episodes, seed=seed)
        row.append([max(policy.latency_ms / bound_ms - 1, 0.0), time.process_time() - began])
    return row


def summary(counts, rows):
    gap, seconds = np.moveaxis(np.array(rows), 2, 0)
    return {
        str(episodes): {
            "within_0.1%": float((gap[:, i] <= NEAR).mean()),
            "median": float(np.median(gap[:, i])),
            "mean": float(gap[:, i].mean()),
            "max": float(gap[:, i].max()),
            "cpu_s": float(seconds[:, i].mean()),
        }
        for i, episodes in enumerate(counts)
    }


def save(part, name, counts, rows, proven):
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    command = " ".join(["python", "experiments/agents.py", *sys.argv[1:]])
    content.setdefault(part, {})[name] = {
        "command": command,
        "instances": len(rows),
        "optima_proven": proven,
        "episodes": summary(counts, rows),
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(table(content), encoding="utf-8")


def table(content):
    """Markdown: a section for each set of instances, a row for each agent and its episodes."""
    lines = ["Made by `python experiments/agents.py`; gap to the optimum of the cost model."]
    for part, agents in content.items():
        lines += ["", f"## {part}", ""]
        lines += ["| agent | episodes | instances | ≤ 0.1 % | median | mean | max | CPU s |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for name, of in sorted(agents.items(), key=lambda item: last(item[1])["mean"]):
            for episodes, g in of["episodes"].items():
                few = "–" if name in FEW else episodes
                gap = " | ".join(f"{g[which]:.2%}" for which in ("median", "mean", "max"))
                share = f"{g['within_0.1%']:.1%}"
                cells = f"{name} | {few} | {of['instances']} | {share} | {gap} | {g['cpu_s']:.2f}"
                lines.append(f"| {cells} |")
    return "\n".join(lines) + "\n"


def last(row):
    return list(row["episodes"].values())[-1]


if __name__ == "__main__":
    main()
