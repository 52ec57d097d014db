"""What real measurements add: the optimum of the cost model against the plan the search ends with.

    python experiments/additivity.py                     # 5 networks, seeds 0 to 2, 1 thread
    python experiments/additivity.py --networks kws1 --seeds 0

The cost model is additive: layers, and tensors that cross. Were the machine so too, the model's
proven optimum after exploring would be the best plan, and the rounds of Dyna-Q that measure, refit
and learn again would find nothing better. For each network and seed both plans are measured in
nine sittings, runs interleaved. Reported: the ratio of the optimum's time to that of the
last plan, with its 95 % interval (above 1: the rounds paid), how far each is from its prediction,
and how many plans the rounds measured.

About 3 minutes a row on two quiet cores. Everything measured is stored: interrupted, the same
command goes on; results/additivity.json is written after each row.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import held_out
import measured

from qsdnn.agents import agent
from qsdnn.board import open_board
from qsdnn.listener import Silent
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

HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=measured.NETWORKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--board", default="local")
    parser.add_argument("--store", default="measured.db")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "additivity.json")
    asked = parser.parse_args()

    rows = {}
    for network, seed in () if asked.plot else itertools.product(asked.networks, asked.seeds):
        rows[f"{network}, seed {seed}"] = row = study(network, seed, asked)
        print(line(network, seed, row), flush=True)
        measured.write(asked.output, rows)
    plot(asked.output)


def study(network, seed, asked):
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board(asked.board) as board,
        Store(asked.store) as store,
    ):
        config = SearchConfig(
            model=held_out.example(network, Path(folder)),
            engines=held_out.ENGINES,
            threads=asked.threads,
            seed=seed,
        )
        bench = prepare(config, board, store, Silent(), Path(folder)).bench
        uniform = race(bench)
        space, uniform = usable(bench.space, uniform)
        bench = bench.within(space)
        counts = bench.measurer.counts
        budget = Budget(seconds=float("inf"), measurements=None, counts=counts, start_s=0.0)
        history = History(bench.space, uniform, None)
        explore(bench, uniform, history, budget)
        explored, before = len(history.trials), history.belief()
        optimum = agent("exact").learn(before.cost, episodes=1, seed=0)
        learner = agent("q-learning")
        rounds = Rounds(bench, history, uniform.best[0], learner, Unlimited(), lambda *_: None)
        rounds.run(budget)
        last = finish(bench, uniform, rounds.ranked(), Unlimited()).trial
        plans = {"dyna-q": last.choice, "model optimum": optimum.choice}
        return {
            "proven": optimum.proven,
            "explored": explored,
            "measured_in_rounds": len(history.trials) - explored,
            "rounds": rounds.learning.rounds,
            "ended": rounds.learning.ended,
            "optimum_before_ms": float(before.latency_ms([bench.cut(optimum.choice)])[0]),
            "optimum_after_ms": float(history.belief().latency_ms([bench.cut(optimum.choice)])[0]),
            "last_after_ms": history.predict(last),
            "layers_that_differ": int((last.choice != optimum.choice).sum()),
            "ratios": measured.compare(bench, plans),
        }


def line(network, seed, row):
    found = row["ratios"]["model optimum"]
    return (
        f"{network:14} seed {seed}  optimum / last plan {found['ratio']:.3f} "
        f"[{found['ci95'][0]:.3f}, {found['ci95'][1]:.3f}]  "
        f"{row['layers_that_differ']} layers differ  "
        f"{row['explored']} + {row['measured_in_rounds']} plans measured  "
        f"optimum predicted {row['optimum_before_ms']:.3f}, after the rounds "
        f"{row['optimum_after_ms']:.3f} ms"
    )


def plot(path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    found = [row["ratios"]["model optimum"] for row in rows.values()]
    at = [r["ratio"] for r in found]
    reach = [[r["ratio"] - r["ci95"][0] for r in found], [r["ci95"][1] - r["ratio"] for r in found]]
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.25 * len(rows)), layout="constrained")
    axes.errorbar(at, range(len(rows)), xerr=reach, fmt="o", capsize=2)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel("time of the model's optimum before the rounds / time of the last plan")
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)


if __name__ == "__main__":
    main()
