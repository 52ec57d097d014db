"""How long Q-learning takes, how much memory, and how both grow with the layers.

    python experiments/q_speed.py               # all rows, each in a process of its own
    python experiments/q_speed.py --profile     # where the time goes, on resnet50

- `resnet50`: its real cost model (data/cost; 57 layers, 8 primitives, up to 7 of them a layer), and
  its real edges with 12 drawn primitives, all permitted: 1000 episodes.
- `residual N`: drawn networks of N layers and 50 primitives of 8 domains: 500 episodes. The gap is
  to the proven optimum, or to the lower bound where it is not proven.

Seconds are of processor time on one core, as others may use the machine; memory is the peak of the
process. Writes results/q_speed.json.
"""

import argparse
import cProfile
import json
import pstats
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from qsdnn.agents import agent
from qsdnn.cost.model import CostModel, read_cost
from qsdnn_envs.synthetic import instance

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "q_speed.json"
ROWS = {"resnet50": 1000, "resnet50, 12 drawn": 1000} | {
    f"residual {layers}": 500 for layers in (500, 1000, 2000, 3000, 4000, 5000)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=ROWS, help="only this one, in this process")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    if asked.profile:
        profile()
    elif asked.row:
        print(json.dumps(measure(asked.row)))
    else:
        rows = {}
        for name in ROWS:
            command = [sys.executable, __file__, "--row", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows[name] = json.loads(done.stdout)
            print(name, rows[name], flush=True)
        content = {"command": "python experiments/q_speed.py", "rows": rows}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measure(name):
    cost, episodes = cost_of(name), ROWS[name]
    before_mb = peak_mb()
    began, wall = time.process_time(), time.perf_counter()
    policy = agent("q-learning").learn(cost, episodes=episodes, seed=0)
    seconds, wall = time.process_time() - began, time.perf_counter() - wall
    after_mb = peak_mb()
    optimum = agent("exact").learn(cost, episodes=1, seed=0)
    layers, primitives = cost.space.mask.shape
    return {
        "layers": layers,
        "primitives": primitives,
        "permitted_a_layer": round(float(cost.space.mask.sum(axis=1).mean()), 2),
        "episodes": episodes,
        "cpu_s": round(seconds, 2),
        "wall_s": round(wall, 2),
        "steps_per_cpu_s": round(policy.steps / seconds),
        "cpu_us_a_layer_and_episode": round(1e6 * seconds / layers / episodes, 2),
        "peak_mb": round(after_mb),
        "learning_mb": round(after_mb - before_mb),
        "gap": max(policy.latency_ms / optimum.bound_ms - 1, 0.0),
        "proven": optimum.proven,
    }


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost_of(name):
    if name.startswith("residual"):
        layers = int(name.split()[1])
        return instance(
            "residual", layers=layers, primitives=50, domains=8, crossing=0.5, seed=layers
        )
    real = read_cost(HERE / "data" / "cost" / "resnet50.npz")
    return real if name == "resnet50" else drawn_over(real)


def drawn_over(real, primitives=12):
    """The real edges, with made-up costs of more primitives."""
    layers = len(real.space.layers)
    other = instance("chain", layers=layers, primitives=primitives, domains=4, permitted=1.0)
    rng = np.random.default_rng(0)
    shape = (len(real.space.edges), 4)
    typical_ms = 0.3 * float(np.median(other.layer_ms))
    return CostModel(
        space=replace(other.space, edges=real.space.edges),
        layer_ms=other.layer_ms,
        leave_ms=typical_ms * rng.lognormal(-0.7, 0.5, shape),
        enter_ms=typical_ms * rng.lognormal(-0.7, 0.5, shape),
    )


def profile():
    cost = cost_of("resnet50")
    profiler = cProfile.Profile()
    profiler.runcall(agent("q-learning").learn, cost, episodes=1000, seed=0)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
