"""How fast agents find fast plans: the gap against episodes and against seconds, on cost models.

    python experiments/search_quality.py                         # every agent, 6 networks, 10 seeds
    python experiments/search_quality.py --agents annealing      # again, or new; others are kept
    python experiments/search_quality.py --plot                  # only draw

Every registered agent, and every preset of Q-learning, on the cost models under data/cost (made by
`qsdnn search NET.onnx --threads 1 --cost-model NET.npz`). The gap is the best predicted latency so
far over the proven optimum, minus 1: median over the seeds, with a band from the second lowest to
the second highest of ten. Seconds are of processor time, of learning alone, on one core; only their
ratios are of interest. The same against real measurements is experiments/measured.py.

Also draws the learning curve of the paper: the latency of each episode of the preset `qsdnn-2018`,
and its staircase of falling epsilon (de Prado et al., ACM TIoT 2019, figure 11).

Writes results/search_quality.json and the plots beside it; needs matplotlib. 15 minutes on a core.
"""

import argparse
import json
import sys
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from qsdnn.agents import agent, names
from qsdnn.agents.q_learning.presets import PRESETS
from qsdnn.cost.model import read_cost

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "search_quality.json"
NETWORKS = ("resnet50", "googlenet", "mobilenet-v2", "squeezenet", "shufflenet-v2", "kws1")
EPISODES = (1, 2, 3, 5, 10, 16, 20, 32, 50, 64, 100, 150, 200, 300, 400, 500, 700, 1000)
SECONDS = tuple(float(s) for s in np.round(np.geomspace(0.003, 10, 24), 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", default=names())
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--plot", action="store_true")
    asked = parser.parse_args()
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if not asked.plot:
        content["command"] = " ".join(["python", "experiments/search_quality.py", *sys.argv[1:]])
        with Pool(asked.processes) as pool:
            for network in asked.networks:
                rows = content.setdefault("networks", {}).setdefault(network, {})
                for name in asked.agents:
                    presets = PRESETS if name == "q-learning" else ["default"]
                    for preset in presets:
                        title = name if preset == "default" else f"{name}, {preset}"
                        seeds = [(network, name, preset, seed) for seed in range(asked.seeds)]
                        rows[title] = row = bands(pool.map(curve, seeds, chunksize=1))
                        print(line(network, title, row), flush=True)
                write(content)
        content["learning_curve"] = learning_curve()
        write(content)
    plot(content)


def curve(job):
    """The gap after some episodes and after some seconds, in one run."""
    network, name, preset, seed = job
    cost = read_cost(HERE / "data" / "cost" / f"{network}.npz")
    optimum_ms = agent("exact").learn(cost, episodes=1, seed=0).bound_ms
    best, at = [], []

    def heard(episode):
        best.append(episode.best_ms)
        at.append(time.process_time() - began)

    learner = agent(name, preset)
    began = time.process_time()
    learner.learn(cost, episodes=EPISODES[-1], seed=seed, on_episode=heard)
    gap = np.maximum(np.array(best) / optimum_ms - 1, 0.0)
    episode = np.minimum(np.array(EPISODES), len(gap)) - 1
    done = np.searchsorted(at, SECONDS, side="right") - 1
    by_second = np.where(done >= 0, gap[done], np.nan)
    return gap[episode], by_second, at[-1]


def bands(runs):
    """Median and band over the seeds; None while not every seed has an episode."""
    return {
        "episodes": quantiles(np.array([run[0] for run in runs])),
        "seconds": quantiles(np.array([run[1] for run in runs])),
        "cpu_s": float(np.median([run[2] for run in runs])),
        "seeds": len(runs),
    }


def quantiles(gaps):
    ordered = np.sort(gaps, axis=0)
    edge = len(gaps) // 10
    found = {"median": np.median(gaps, axis=0), "low": ordered[edge], "high": ordered[-1 - edge]}
    known = ~np.isnan(gaps).any(axis=0)
    return {
        name: [float(v) if ok else None for v, ok in zip(values, known, strict=True)]
        for name, values in found.items()
    }


def learning_curve(network="resnet50"):
    cost = read_cost(HERE / "data" / "cost" / f"{network}.npz")
    told = []
    agent("q-learning", "qsdnn-2018").learn(cost, episodes=1000, seed=0, on_episode=told.append)
    return {
        "network": network,
        "latency_ms": [episode.latency_ms for episode in told],
        "epsilon": [episode.epsilon for episode in told],
        "optimum_ms": agent("exact").learn(cost, episodes=1, seed=0).latency_ms,
    }


def write(content):
    content["episodes"], content["seconds"] = EPISODES, SECONDS
    RESULTS.write_text(json.dumps(content) + "\n", encoding="utf-8")


def line(network, title, row):
    median = dict(zip(EPISODES, row["episodes"]["median"], strict=True))
    cells = "  ".join(f"{n}: {median[n]:8.2%}" for n in (10, 100, 300, 1000))
    return f"{network:14} {title:24} {cells}  {row['cpu_s']:6.2f} s"


def plot(content):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for axis, label in (("episodes", "episodes"), ("seconds", "processor seconds")):
        figure, panels = pyplot.subplots(2, 3, figsize=(14, 8), sharey=True)
        for panel, (network, rows) in zip(panels.flat, content["networks"].items(), strict=False):
            for i, (title, row) in enumerate(rows.items()):
                if title != "exact":
                    draw(panel, content[axis], row[axis], title, f"C{i}")
            panel.set_title(network)
            panel.set_xscale("log")
            panel.set_yscale("symlog", linthresh=1e-4)
            panel.set_ylim(0, 30)
            panel.grid(alpha=0.3)
        for panel in panels[:, 0]:
            panel.set_ylabel("gap to the optimum")
        for panel in panels[1]:
            panel.set_xlabel(label)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncol=5, frameon=False)
        figure.tight_layout(rect=(0, 0.06, 1, 1))
        save(figure, f"search_quality_{axis}")
    curve = content["learning_curve"]
    figure, panel = pyplot.subplots(figsize=(8, 4.5))
    panel.plot([-ms for ms in curve["latency_ms"]], ".", ms=2.5, color="C0")
    panel.axhline(-curve["optimum_ms"], color="C2", lw=1, label="optimum of the cost model")
    panel.set(xlabel="episode", ylabel="reward of the episode (−ms)")
    panel.set_title(f"q-learning, qsdnn-2018, {curve['network']}")
    panel.legend(loc="lower right", frameon=False)
    right = panel.twinx()
    right.step(range(len(curve["epsilon"])), curve["epsilon"], where="post", color="C3")
    right.set_ylabel("epsilon", color="C3")
    figure.tight_layout()
    save(figure, "learning_curve")


def draw(panel, places, row, title, color):
    known = [i for i, value in enumerate(row["median"]) if value is not None]
    x = [places[i] for i in known]
    panel.plot(x, [row["median"][i] for i in known], color=color, lw=1.5, label=title)
    low, high = ([row[edge][i] for i in known] for edge in ("low", "high"))
    panel.fill_between(x, low, high, color=color, alpha=0.12, lw=0)


def save(figure, name):
    for suffix in (".png", ".svg"):
        figure.savefig(RESULTS.with_name(name).with_suffix(suffix), dpi=110)


if __name__ == "__main__":
    main()
