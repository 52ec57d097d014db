"""How fast a search finds fast plans on the machine: against measurements, and against seconds.

    python experiments/anytime.py                        # 2 networks, 5 ways to search, 10 seeds
    python experiments/anytime.py --networks kws3 --seeds 2
    python experiments/anytime.py --plot                 # only draw results/anytime.json again

The same search with each agent that learns on the cost model, and `random plans`, which measures
random mixed plans and takes the fastest so far. All start from the same profile and an empty cost
model, and measure `--measurements` plans besides the uniform ones. What each would give, were it
stopped after so many measurements or seconds, is measured again when all have ended: in five
sittings, its runs interleaved with those of the best uniform plan. The curve is the ratio of the
two, below 1 where the plan is faster: median over the seeds, with a band from the second lowest to
the second highest of ten. Seconds are wall time from the end of the profile.

The same against episodes, on cost models, is search_quality.py. About 10 minutes a network on two
quiet cores. results/anytime.json is written after each network; needs matplotlib.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import held_out
import numpy as np

from qsdnn.agents import agent
from qsdnn.board import MeasureOptions, open_board
from qsdnn.listener import Silent
from qsdnn.measure.paired import paired_ratio
from qsdnn.store import Store
from qsdnn.tuning.bench import GROUP
from qsdnn.tuning.budget import Budget
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.history import History
from qsdnn.tuning.limits.constraint import Unlimited
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.rounds.loop import Rounds
from qsdnn.tuning.start.initial_design import explore
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

HERE = Path(__file__).parent
RANDOM_PLANS = "random plans"
WAYS = ("q-learning", "evolutionary", "annealing", "random", RANDOM_PLANS)
TOGETHER = 6
"""Plans measured again side by side."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=("kws3", "shufflenet-v2"))
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--measurements", type=int, default=32)
    parser.add_argument("--board", default="local")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "anytime.json")
    asked = parser.parse_args()

    rows = {}
    for network in () if asked.plot else asked.networks:
        rows[network] = row = study(network, asked)
        print(lines(network, row), flush=True)
        content = {
            "command": " ".join(["python", *sys.argv]),
            "machine": held_out.machine(),
            "networks": rows,
        }
        asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(asked.output)


def study(network, asked):
    with tempfile.TemporaryDirectory() as name, open_board(asked.board) as board:
        folder = Path(name)
        model = held_out.example(network, folder)
        start = folder / "start.db"
        with begun(model, board, start, 0):
            pass  # all others find its profile in the store
        found = {}
        for way in asked.ways:
            found[way] = []
            for seed in range(asked.seeds):
                own = folder / f"{way} {seed}.db"
                shutil.copy(start, own)
                with begun(model, board, own, seed) as (bench, measured):
                    found[way].append(trace(way, bench, measured, seed, asked.measurements))
                print(f"{network} {way} {seed}: {len(found[way][-1])} plans", file=sys.stderr)
        with begun(model, board, start, 0) as (bench, measured):
            ratios = measure_again(bench, measured, found)
        return {
            way: [
                [{**step, "ratio": ratios[tuple(step["plan"])]} for step in steps]
                for steps in of_seeds
            ]
            for way, of_seeds in found.items()
        }


@contextmanager
def begun(model, board, path, seed):
    """A search that has its profile."""
    config = SearchConfig(model=model, engines=held_out.ENGINES, seed=seed, patience=10**6)
    with Store(str(path)) as store, tempfile.TemporaryDirectory() as folder:
        bench = prepare(config, board, store, Silent(), Path(folder)).bench
        measured = race(bench)
        space, measured = usable(bench.space, measured)
        bench = bench.within(space)
        yield bench, measured


def trace(way, bench, measured, seed, count):
    """What a search has when, from its first plan on."""
    counts, began = bench.measurer.counts, time.monotonic()
    before = counts.taken + counts.cached
    steps = []

    def keep(trial, *_):
        spent = counts.taken + counts.cached - before
        seconds = time.monotonic() - began
        steps.append({"measurements": spent, "seconds": seconds, "plan": trial.choice.tolist()})

    best = measured.best[0]
    keep(best)
    if way == RANDOM_PLANS:
        rng = np.random.default_rng([seed, 1])
        plans = held_out.distinct_plans(bench.space, measured.layer_ms, count, rng)
        for at in range(0, len(plans), GROUP):
            for trial in bench.in_groups(plans[at : at + GROUP], measured.best[:1]):
                if trial.latency_ms < best.latency_ms:
                    best = trial
                    keep(best)
        return steps
    budget = Budget(seconds=float("inf"), measurements=before + count, counts=counts, start_s=began)
    history = History(bench.space, measured, None)
    explore(bench, measured, history, budget)
    Rounds(bench, history, best, agent(way), Unlimited(), keep).run(budget)
    return steps


def measure_again(bench, measured, found):
    """The time of each plan over the best uniform plan's."""
    uniform = measured.best[0].choice
    ratios = {tuple(uniform.tolist()): 1.0}
    plans = {tuple(s["plan"]) for of_seeds in found.values() for steps in of_seeds for s in steps}
    others = sorted(plans - ratios.keys())
    options = MeasureOptions(min_runs=50, max_runs=500, precision=0.0, budget_s=15.0, sittings=5)
    for at in range(0, len(others), TOGETHER):
        group = others[at : at + TOGETHER]
        choices = [uniform, *(np.array(plan) for plan in group)]
        beside, *trials = bench.measure(choices, f"again {at}", options, paired=True)
        for plan, trial in zip(group, trials, strict=True):
            ratios[plan] = paired_ratio(trial.record, beside.record)[0]
    return ratios


def at(steps, what, limit):
    """What a search has when it is stopped."""
    return [step["ratio"] for step in steps if step is steps[0] or step[what] <= limit][-1]


def lines(network, row):
    text = []
    for way, of_seeds in row.items():
        ends = [steps[-1]["ratio"] for steps in of_seeds]
        counts = sorted({step["measurements"] for steps in of_seeds for step in steps})
        cells = [f"{n}: {np.median([at(s, 'measurements', n) for s in of_seeds]):.3f}"
                 for n in (8, 16, 24) if n <= counts[-1]]  # fmt: skip
        text.append(
            f"{network:12} {way:14} median after {'  '.join(cells)}  at the end "
            f"{np.median(ends):.3f} ({min(ends):.3f} to {max(ends):.3f})"
        )
    return "\n".join(text)


def plot(path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    networks = json.loads(path.read_text(encoding="utf-8"))["networks"]
    figure, axes = pyplot.subplots(
        len(networks), 2, figsize=(10, 3.2 * len(networks)), layout="constrained", squeeze=False
    )
    for row, (network, ways) in zip(axes, networks.items(), strict=True):
        for axis, what in zip(row, ("measurements", "seconds"), strict=True):
            every = [s[what] for of in ways.values() for steps in of for s in steps]
            limits = np.linspace(0, max(every) * 1.05, 200)
            for way, of_seeds in ways.items():
                values = np.array([[at(s, what, limit) for limit in limits] for s in of_seeds])
                within = np.sort(values, axis=0)[1:-1] if len(values) > 3 else values
                low, high = within.min(axis=0), within.max(axis=0)
                axis.plot(limits, np.median(values, axis=0), label=way)
                axis.fill_between(limits, low, high, alpha=0.15)
            axis.set_xlabel(f"{what} after the profile")
            axis.set_ylabel("time / best uniform plan's")
            axis.set_title(network)
    axes[0][0].legend()
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)


if __name__ == "__main__":
    main()
