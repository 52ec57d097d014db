"""Dyna-Q's plan against other ways to find one with as many measurements, all on the machine.

    python experiments/measured.py                       # 5 networks, 1 thread
    python experiments/measured.py --networks kws1
    python experiments/measured.py --plot                # only draw results/measured.json again

For each network: a search by Q-learning, from an empty cost model to its last round. Its plan is
then held against

- `model optimum`: the proven optimum of the cost model after exploring, before any real episode;
- `random`: the fastest of as many random mixed plans as the search measured in all;
- `evolutionary`: the plan of the same search with that agent, stopped at as many measurements;
- `best uniform`: the fastest single engine;

of which random's and evolutionary's, as Dyna-Q's own, had to win a final against the best uniform
plans, or else that is their plan;

in nine sittings, processes that load them in another order, with the runs of all five interleaved.
The ratio is the other's time over Dyna-Q's, median of the sittings, with its 95 % interval (order
statistics): above 1 means that Dyna-Q's plan is faster. Equal plans are measured once, and their
ratio is 1.

About 6 minutes a network on two quiet cores. Everything measured is stored: interrupted, the same
command goes on; results/measured.json is written after each network.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import held_out
import numpy as np

from qsdnn.agents import agent
from qsdnn.board import SITTINGS, MeasureOptions, open_board
from qsdnn.listener import Silent
from qsdnn.measure.paired import paired_ratio
from qsdnn.store import Store
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.finish.fastest import finish
from qsdnn.tuning.history import History
from qsdnn.tuning.limits.constraint import Unlimited
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.rounds.loop import Rounds
from qsdnn.tuning.start.initial_design import explore
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

NETWORKS = ("shufflenet-v2", "alexnet", "mobilenet-v2", "squeezenet", "googlenet")
HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", default="local")
    parser.add_argument("--store", default="measured.db")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "measured.json")
    asked = parser.parse_args()

    rows = {}
    for network in () if asked.plot else asked.networks:
        rows[network] = row = study(network, asked)
        print(line(network, row), flush=True)
        write(asked.output, rows)
    plot(asked.output)


def study(network, asked):
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board(asked.board) as board,
        Store(asked.store) as store,
    ):
        model = held_out.example(network, Path(folder))
        config = SearchConfig(
            model=model,
            engines=held_out.ENGINES,
            threads=asked.threads,
            episodes=asked.episodes,
            seed=asked.seed,
        )
        bench = prepare(config, board, store, Silent(), Path(folder)).bench
        measured = race(bench)
        space, measured = usable(bench.space, measured)
        bench = bench.within(space)
        first = measured.best[0]
        dyna_q, optimum, spent = learn("q-learning", bench, measured, None)
        evolved, _, _ = learn("evolutionary", bench, measured, spent)
        random = best_of_random(bench, measured, spent - len(measured.trials), asked.seed)
        plans = {
            "dyna-q": dyna_q.choice,
            "model optimum": optimum.choice,
            "random": random.choice,
            "evolutionary": evolved.choice,
            "best uniform": first.choice,
        }
        return {
            "measurements": spent,
            "optimum_proven": optimum.proven,
            "optimum_predicted_ms": optimum.latency_ms,
            "best_uniform": next(n for n, t in measured.trials.items() if t is first),
            "plans": {name: choice.tolist() for name, choice in plans.items()},
            "ratios": compare(bench, plans),
        }


def learn(name, bench, measured, limit):
    """The plan a search ends with, the model's optimum before its rounds, and what it measured."""
    counts = bench.measurer.counts
    before = counts.taken + counts.cached - len(measured.trials)
    budget = Budget(
        seconds=float("inf"),
        measurements=None if limit is None else limit + before,
        counts=counts,
        start_s=0.0,
    )
    history = History(bench.space, measured, None)
    explore(bench, measured, history, budget)
    optimum = agent("exact").learn(history.belief().cost, episodes=1, seed=0)
    rounds = Rounds(bench, history, measured.best[0], agent(name), Unlimited(), lambda *_: None)
    rounds.run(budget)
    spent = counts.taken + counts.cached - before
    return finish(bench, measured, rounds.ranked(), Unlimited()).trial, optimum, spent


def best_of_random(bench, measured, count, seed):
    rng = np.random.default_rng([seed, 1])
    plans = held_out.distinct_plans(bench.space, measured.layer_ms, count, rng)
    trials = bench.in_groups(plans, measured.best[:1])
    ranked = sorted([*trials, *measured.best], key=lambda trial: trial.latency_ms)
    return finish(bench, measured, ranked, Unlimited()).trial


def compare(bench, plans):
    """Ratio of each plan's time to Dyna-Q's, with its 95 % interval."""
    distinct = {choice.tobytes(): choice for choice in plans.values()}
    options = MeasureOptions(
        threads=bench.config.threads,
        min_runs=90,
        max_runs=900,
        precision=0.0,
        budget_s=60.0,
        sittings=SITTINGS,
    )
    trials = bench.measure(list(distinct.values()), "compare", options, paired=True)
    records = {trial.key: trial.record for trial in trials}
    mine = records[plans["dyna-q"].tobytes()]
    found = {name: paired_ratio(records[choice.tobytes()], mine) for name, choice in plans.items()}
    return {name: {"ratio": ratio, "ci95": ci95} for name, (ratio, *ci95) in found.items()}


def line(network, row):
    found = "  ".join(
        f"{name} {r['ratio']:.3f} [{r['ci95'][0]:.3f}, {r['ci95'][1]:.3f}]"
        for name, r in row["ratios"].items()
        if name != "dyna-q"
    )
    return f"{network:14} {row['measurements']} measurements  {found}"


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def plot(path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    names = [name for name in next(iter(rows.values()))["ratios"] if name != "dyna-q"]
    figure, axes = pyplot.subplots(figsize=(7, 0.5 + 0.6 * len(rows)), layout="constrained")
    for i, name in enumerate(names):
        found = [row["ratios"][name] for row in rows.values()]
        at = [r["ratio"] for r in found]
        below = [r["ratio"] - r["ci95"][0] for r in found]
        above = [r["ci95"][1] - r["ratio"] for r in found]
        places = [n + 0.15 * (i - (len(names) - 1) / 2) for n in range(len(rows))]
        axes.errorbar(at, places, xerr=[below, above], fmt="o", capsize=2, label=name)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel("time of the other plan / time of Dyna-Q's plan")
    axes.legend()
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)


if __name__ == "__main__":
    main()
