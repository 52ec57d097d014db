"""The claim "up to 15 times better than random search in a short search", on our cost models.

    python experiments/random_vs_q.py          # 6 networks, 10 seeds
    python experiments/random_vs_q.py --plot   # only draw

The claim is of de Prado, Pazos, Benini (arXiv 1811.07315), for primitives on a Jetson TX2. Here the
latency of the best plan of random search is divided by that of Q-learning's after as many episodes,
once with our preset and once with the published one; schedules are stretched over the episodes.
Given are the median of the ratio over the seeds, paired, and its range. The cost models under
data/cost were made by `qsdnn search NET.onnx --threads 1 --cost-model NET.npz`.

How large the ratio can be depends on how bad a random plan is. So the optimum's ratio is given too:
the ratio that no method can exceed.

Writes results/random_vs_q.json and plots beside it; needs matplotlib. 10 minutes on a core.
"""

import argparse
import json
import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent
from qsdnn.cost.model import read_cost

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "random_vs_q.json"
NETWORKS = ("resnet50", "googlenet", "mobilenet-v2", "squeezenet", "shufflenet-v2", "kws1")
EPISODES = (10, 20, 50, 100, 200, 500, 1000)
PRESETS = ("default", "qsdnn-2018")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plot", action="store_true")
    asked = parser.parse_args()
    if not asked.plot:
        rows = {}
        with Pool(asked.processes) as pool:
            for network in asked.networks:
                jobs = [(network, seed) for seed in range(asked.seeds)]
                rows[network] = row = summarize(np.array(pool.map(ratios, jobs, chunksize=1)))
                print(line(network, row), flush=True)
        command = " ".join(["python", "experiments/random_vs_q.py", *sys.argv[1:]])
        content = {"command": command, "episodes": EPISODES, "rows": rows}
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(json.loads(RESULTS.read_text(encoding="utf-8")))


def ratios(job):
    """(presets + optimum, episodes) latency of random search over theirs, for one seed."""
    network, seed = job
    cost = read_cost(HERE / "data" / "cost" / f"{network}.npz")

    def best_ms(name, preset, episodes):
        return agent(name, preset).learn(cost, episodes=episodes, seed=seed).latency_ms

    random_ms = np.array([best_ms("random", "default", n) for n in EPISODES])
    found = [[best_ms("q-learning", preset, n) for n in EPISODES] for preset in PRESETS]
    optimum_ms = agent("exact").learn(cost, episodes=1, seed=0).latency_ms
    return random_ms / np.array([*found, [optimum_ms] * len(EPISODES)])


def summarize(rows):
    return {
        name: {
            "median": np.median(rows[:, i], axis=0).tolist(),
            "low": rows[:, i].min(axis=0).tolist(),
            "high": rows[:, i].max(axis=0).tolist(),
        }
        for i, name in enumerate([*PRESETS, "optimum"])
    }


def line(network, row):
    cells = [
        f"{n}: {ratio:5.2f}" for n, ratio in zip(EPISODES, row["default"]["median"], strict=True)
    ]
    return f"{network:14} " + "  ".join(cells) + f"  at most {max(row['optimum']['high']):.2f}"


def plot(content):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 3, figsize=(13, 7))
    for panel, (network, row) in zip(panels.flat, content["rows"].items(), strict=False):
        for (name, band), color in zip(row.items(), ("C0", "C3", "C2"), strict=True):
            style = "--" if name == "optimum" else "-"
            panel.plot(content["episodes"], band["median"], style, color=color, label=name)
            panel.fill_between(
                content["episodes"], band["low"], band["high"], color=color, alpha=0.15, lw=0
            )
        panel.axhline(1.0, color="0.6", lw=0.8)
        panel.set_xscale("log")
        panel.set_title(network)
        panel.set_ylim(0.8)
        panel.grid(alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel("random search's latency / theirs")
    for panel in panels[1]:
        panel.set_xlabel("episodes")
    panels[0, 0].legend(frameon=False)
    figure.tight_layout()
    for suffix in (".png", ".svg"):
        figure.savefig(RESULTS.with_suffix(suffix), dpi=110)


if __name__ == "__main__":
    main()
