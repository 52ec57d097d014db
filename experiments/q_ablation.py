"""What each setting of Q-learning is good for: the gap with one of them changed at a time.

    python experiments/q_ablation.py                       # all variants
    python experiments/q_ablation.py --variants sweeps-1   # some; the other rows are kept

On example networks (data/cost) and the first instances of the tuning set, of which none is among
the drawn ones of agents.py. Each variant is the preset `default` but for what its name says.
`credit-steps` gives credit as published, `no-tree-weights` counts what happens where tensors meet
for each of them in full. Rows go to results/q_ablation.json.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent
from qsdnn.agents.q_learning import tensor_values as messages
from qsdnn.agents.q_learning.learner import QLearning
from qsdnn.agents.q_learning.presets import PRESETS, Initial, Staircase, StepCredit
from qsdnn.cost.model import read_cost
from qsdnn_envs.synthetic import TUNING, drawn

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "q_ablation.json"
NETWORKS = ("resnet50", "googlenet", "mobilenet-v2", "squeezenet", "shufflenet-v2", "kws1")
EPISODES = (100, 300, 1000)

DEFAULT = PRESETS["default"]
STEPS = StepCredit(
    state="frontier", alpha=1.0, gamma=1.0, replay=16, initial=Initial.ZERO
)  # what credit along tensors is held against: the same, but each state has its own values


def credit(**changes):
    return replace(DEFAULT, credit=replace(DEFAULT.credit, **changes))


VARIANTS = {
    "default": DEFAULT,
    "credit-steps": replace(DEFAULT, credit=STEPS),
    "no-tree-weights": DEFAULT,  # see `gap`
    "optimism-0": credit(optimism=(0.0,)),
    "optimism-1": credit(optimism=(1.0,)),
    "sweeps-1": credit(sweeps=1),
    "sweeps-4": credit(sweeps=4),
    "replay-0": credit(replay=0),
    "replay-10": credit(replay=10),
    "alpha-0.5": credit(alpha=0.5),
    "no-linger": replace(DEFAULT, linger=0.0),
    "no-spread": replace(DEFAULT, spread=False),
    "batch-8": replace(DEFAULT, batch=8),
    "batch-32": replace(DEFAULT, batch=32),
    "reward-cost": replace(DEFAULT, reward="cost"),
    "epsilon-0.2": replace(DEFAULT, schedule=Staircase(((1, 0.2),))),
    "epsilon-0": replace(DEFAULT, schedule=Staircase(((1, 0.0),))),
    "half-random": replace(
        DEFAULT, schedule=Staircase(((50, 1.0), *((5, i / 10) for i in range(9, -1, -1))))
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    instances = [*NETWORKS, *list(TUNING)[: asked.instances]]
    with Pool(asked.processes) as pool:
        for name in asked.variants:
            rows = pool.map(gap, [(name, of) for of in instances], chunksize=1)
            save(name, instances, np.array(rows))
    for name, row in sorted(read().items(), key=lambda item: item[1]["gap"]["1000"]["mean"]):
        print(line(name, row))


def gap(job):
    """The gaps of a variant on an instance after each count of episodes, and the last's seconds."""
    name, of = job
    messages._share = (lambda wiring, layer: 1.0) if name == "no-tree-weights" else SHARE
    cost = read_cost(HERE / "data" / "cost" / f"{of}.npz") if isinstance(of, str) else drawn(of)
    least_ms = agent("exact").learn(cost, episodes=1, seed=0).bound_ms
    gaps = []
    for episodes in EPISODES:
        began = time.process_time()
        policy = QLearning(VARIANTS[name]).learn(cost, episodes=episodes, seed=0)
        gaps.append(max(policy.latency_ms / least_ms - 1, 0.0))
    return [*gaps, time.process_time() - began]


SHARE = messages._share


def save(name, instances, rows):
    content = read()
    content[name] = {
        "command": " ".join(["python", "experiments/q_ablation.py", *sys.argv[1:]]),
        "instances": len(instances),
        "gap": {
            str(n): {
                "within_0.1%": float((rows[:, i] <= 1e-3).mean()),
                "mean": float(rows[:, i].mean()),
                "max": float(rows[:, i].max()),
            }
            for i, n in enumerate(EPISODES)
        },
        "cpu_s_of_1000": float(rows[:, -1].mean()),
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(line(name, content[name]), flush=True)


def read():
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def line(name, row):
    cells = [
        f"{n:>4}: {g['within_0.1%']:5.0%} mean {g['mean']:7.3%} max {g['max']:7.2%}"
        for n, g in row["gap"].items()
    ]
    return f"{name:16} " + "  ".join(cells) + f"  {row['cpu_s_of_1000']:.1f} s"


if __name__ == "__main__":
    main()
