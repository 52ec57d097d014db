"""What Q-learning should see: each `state` with each preset, the gap after 100, 300, 1000 episodes.

    python experiments/state_ablation.py          # 6 networks, 5 seeds
    python experiments/state_ablation.py --plot   # only draw

``frontier`` is Markov, but a network of branches has more frontiers than episodes; ``producers``
forgets what else is open, ``layer`` everything. The published presets have one value for each state
and action; so has `steps`, our preset with published credit. The preset `default` gives credit to
tensors and needs no state to be met twice: it is the last row.

The cost models under data/cost were made by `qsdnn search NET.onnx --threads 1 --cost-model
NET.npz`. Given is the mean gap to the proven optimum over networks and seeds, and the share of runs
within 0.1 %. Writes results/state_ablation.json and plots; needs matplotlib. 15 minutes on a core.
"""

import argparse
import json
import sys
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent
from qsdnn.agents.q_learning.learner import QLearning
from qsdnn.agents.q_learning.presets import PRESETS as PUBLISHED
from qsdnn.agents.q_learning.presets import Initial, StepCredit
from qsdnn.cost.model import read_cost

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "state_ablation.json"
NETWORKS = ("resnet50", "googlenet", "mobilenet-v2", "squeezenet", "shufflenet-v2", "kws1")
EPISODES = (100, 300, 1000)
STATES = ("frontier", "producers", "layer")
STEPS = StepCredit(state="frontier", alpha=1.0, gamma=1.0, replay=16, initial=Initial.ZERO)
PRESETS = {
    "qsdnn-2018": PUBLISHED["qsdnn-2018"],
    "metaqnn": PUBLISHED["metaqnn"],
    "steps": replace(PUBLISHED["default"], credit=STEPS),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plot", action="store_true")
    asked = parser.parse_args()
    if not asked.plot:
        rows = {}
        with Pool(asked.processes) as pool:
            for name, state in [*((n, s) for n in PRESETS for s in STATES), ("default", "")]:
                title = f"{name}, {state}" if state else name
                jobs = [(name, state, net, s) for net in asked.networks for s in range(asked.seeds)]
                rows[title] = row = summarize(np.array(pool.map(gaps, jobs, chunksize=1)))
                print(line(title, row), flush=True)
        command = " ".join(["python", "experiments/state_ablation.py", *sys.argv[1:]])
        content = {"command": command, "episodes": EPISODES, "rows": rows}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(json.loads(RESULTS.read_text(encoding="utf-8")))


def gaps(job):
    name, state, network, seed = job
    settings = PRESETS.get(name, PUBLISHED["default"])
    if state:
        settings = replace(settings, credit=replace(settings.credit, state=state))
    cost = read_cost(HERE / "data" / "cost" / f"{network}.npz")
    optimum_ms = agent("exact").learn(cost, episodes=1, seed=0).latency_ms
    return [
        max(QLearning(settings).learn(cost, episodes=n, seed=seed).latency_ms / optimum_ms - 1, 0)
        for n in EPISODES
    ]


def summarize(rows):
    return {
        "mean": rows.mean(axis=0).tolist(),
        "max": rows.max(axis=0).tolist(),
        "within_0.1%": (rows <= 1e-3).mean(axis=0).tolist(),
    }


def line(title, row):
    means, shares = row["mean"], row["within_0.1%"]
    cells = [
        f"{n}: {mean:8.2%} ({share:4.0%})"
        for n, mean, share in zip(EPISODES, means, shares, strict=True)
    ]
    return f"{title:24} " + "  ".join(cells)


def plot(content):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(8, 5))
    titles = list(content["rows"])
    width = 0.8 / len(EPISODES)
    for i, episodes in enumerate(content["episodes"]):
        means = [100 * content["rows"][title]["mean"][i] for title in titles]
        at = np.arange(len(titles)) + (i - 1) * width
        panel.barh(at, means, height=width, label=f"{episodes} episodes")
    panel.set_yticks(range(len(titles)), titles)
    panel.invert_yaxis()
    panel.set_xscale("symlog", linthresh=0.1)
    panel.set_xlim(0)
    panel.set_xlabel("mean gap to the optimum (%)")
    panel.legend(frameon=False)
    figure.tight_layout()
    for suffix in (".png", ".svg"):
        figure.savefig(RESULTS.with_suffix(suffix), dpi=110)


if __name__ == "__main__":
    main()
