"""Which terms of the cost model lower its error on plans that were not fitted: an ablation.

    python experiments/cost_terms.py                              # on the store of held_out.py
    python experiments/cost_terms.py --networks kws1 --threads 1

Takes the plans that `held_out.py` has measured from its store (and measures what is missing). For
each variant of the model: the mean relative error on held-out plans, by network and threads, and
the mean over all rows. Each row is the mean over `--splits` random splits into as many fitted plans
as a search begins with and the rest. A term is worth having when the error grows without it, or
falls with it, by more than the rows differ among themselves: `worse in` says in how many rows.

A minute a row on one core when everything is in the store.
"""

import argparse
import itertools
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import held_out
import numpy as np

import qsdnn.cost.fit as fitting
import qsdnn.cost.terms as terms_module
from qsdnn.board import open_board
from qsdnn.cost.terms import Terms
from qsdnn.listener import Silent
from qsdnn.model.layer import Graph
from qsdnn.space import Space
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

HERE = Path(__file__).parent
RATE = (0.0, 0.002)
CONSTANT = (0.0, 0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=held_out.NETWORKS)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--fitted", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", default="local")
    parser.add_argument("--store", default="held_out.db")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "cost_terms.json")
    asked = parser.parse_args()

    rows = {}
    for threads, network in itertools.product(asked.threads, asked.networks):
        rows[f"{network}, {threads} threads"] = errors(network, threads, asked)
        report(rows)
        write(asked.output, rows)


def errors(network, threads, asked):
    """Mean held-out error of each variant."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board(asked.board) as board,
        Store(asked.store) as store,
    ):
        model = held_out.example(network, Path(folder))
        config = SearchConfig(model=model, engines=held_out.ENGINES, threads=threads)
        prepared = prepare(config, board, store, Silent(), Path(folder))
        bench, graph = prepared.bench, prepared.graph
        measured = race(bench)
        space, measured = usable(bench.space, measured)
        bench = bench.within(space)
        plans = held_out.random_plans(bench.space, measured.layer_ms, asked)
        trials = [trial for trial in bench.in_groups(plans, measured.best[:1]) if trial.ok]
        uniform = [trial for trial in measured.trials.values() if trial.ok]
    return {
        name: float(
            np.mean(
                [
                    error(variant, graph, bench.space, measured.layer_ms, uniform, trials, split)
                    for split in splits(len(trials), asked)
                ]
            )
        )
        for name, variant in variants().items()
    }


def splits(count, asked):
    for seed in range(asked.splits):
        order = np.random.default_rng(seed).permutation(count)
        yield order[: asked.fitted], order[asked.fitted :]


def error(variant, graph, space, layer_ms, uniform, trials, split):
    fitted, tested = split
    with ExitStack() as stack:
        for patch in variant(graph, space):
            stack.enter_context(patch)
        seen = [*uniform, *(trials[i] for i in fitted)]
        observations = [o for trial in seen for o in trial.observations(space)]
        belief = fitting.fit(space, layer_ms, observations)
        latency_ms = np.array([trials[i].latency_ms for i in tested])
        if variant is as_walked:
            predicted_ms = np.array([belief.cost.predict(trials[i].choice) for i in tested])
        else:
            predicted_ms = belief.latency_ms([trials[i].observations(space) for i in tested])
    return np.abs(predicted_ms / latency_ms - 1).mean()


def variants():
    """Patches of the model by name; the first is the model as it is."""
    return {
        "as it is": lambda graph, space: (),
        "without crossings": without_crossings,
        "without rate per KiB": lambda graph, space: rates(space, keep=1),
        "without single crossings": lambda graph, space: tried(crossings=(1e-6,)),
        "without slowdown in parts": lambda graph, space: (
            mock.patch.object(fitting, "PART", (0.0, 1e-9)),
        ),
        "layers as profiled": lambda graph, space: tried(layers=(1e-6,)),
        "settings not fitted": lambda graph, space: tried(
            layers=(0.12,), crossings=(0.5,), noise=(0.02,)
        ),
        "costs may be negative": lambda graph, space: (mock.patch.object(fitting, "HOLDS", 0),),
        "tensors within a domain are free": as_walked,
        "+ call of a segment": plus_segment,
        "+ KiB at computing layers": lambda graph, space: rates(space, at(space, computing)),
        "+ KiB at depthwise layers": lambda graph, space: rates(
            space, at(space, kind_of(graph, "depthwise_conv"))
        ),
        "+ KiB at eltwise and concat": lambda graph, space: rates(
            space, at(space, kind_of(graph, "eltwise", "concat"))
        ),
        "+ KiB of odd channels": lambda graph, space: rates(space, of_tensor(graph, space, odd)),
        "+ KiB of images": lambda graph, space: rates(space, of_tensor(graph, space, is_image)),
        "+ KiB of several readers": lambda graph, space: rates(space, several(space)),
        "+ call at computing layers": lambda graph, space: rates(
            space, at(space, computing), per_kib=False
        ),
    }


def without_crossings(graph: Graph, space: Space):
    free = tuple((0.0, 1e-9) for _ in terms_module.RATES)
    return (
        *with_rates(free),
        *tried(crossings=(1e-6,)),
        mock.patch.object(fitting, "CROSSING_FLOOR_MS", 1e-9),
    )


def as_walked(graph: Graph, space: Space):
    """What the environment sees: `CostModel.predict`, which does not know where a plan is cut."""
    return ()


def plus_segment(graph: Graph, space: Space):
    """A constant for each segment, kept in the column of a rate that no edge has."""
    original = Terms.rows

    def rows(self, observations):
        made = original(self, observations)
        for row, o in zip(made, observations, strict=True):
            row[self.rate[0, space.domain_of[o.primitives[0]], -1]] += 1.0
        return made

    nothing = np.zeros((2, len(space.edges)))
    patched = rates(space, nothing, per_kib=False)
    return (*patched, mock.patch.object(Terms, "rows", rows))


def rates(space, chosen=None, *, keep=2, per_kib=True):
    """A further rate for the edges chosen, (2, edges) by direction; or fewer rates."""
    sizes = terms_module.crossing_sizes(space)[:, :, :keep]
    prior = terms_module.RATES[:keep]
    if chosen is not None:
        kib = terms_module.crossing_sizes(space)[:, :, 1]
        further = chosen * kib if per_kib else chosen
        sizes = np.concatenate([sizes, further[:, :, None]], axis=2)
        prior = (*prior, RATE if per_kib else CONSTANT)
    return (
        mock.patch.object(terms_module, "crossing_sizes", lambda space: sizes),
        *with_rates(prior),
    )


def with_rates(prior):
    return (
        mock.patch.object(terms_module, "RATES", prior),
        mock.patch.object(fitting, "RATES", prior),
    )


def tried(**settings):
    return (mock.patch.object(fitting, "TRIED", {**fitting.TRIED, **settings}),)


def at(space, is_such):
    """(2, edges) whether a layer of that kind reads the edge, or makes it."""
    reads = [any(is_such(space, c) for c in edge.consumers) for edge in space.edges]
    makes = [is_such(space, edge.producer) for edge in space.edges]
    return np.array([reads, makes], dtype=float)


def computing(space, layer):
    return bool(space.computes[layer])


def kind_of(graph, *kinds):
    return lambda space, layer: graph.layers[layer].kind in kinds


def of_tensor(graph, space, is_such):
    chosen = [is_such(graph.tensors[edge.tensor].shape) for edge in space.edges]
    return np.array([chosen, chosen], dtype=float)


def odd(shape):
    return len(shape) == 4 and shape[1] % 16 != 0


def is_image(shape):
    return len(shape) == 4 and shape[2] * shape[3] > 1


def several(space):
    chosen = [len(edge.consumers) > 1 for edge in space.edges]
    return np.array([chosen, chosen], dtype=float)


def summary(rows):
    names = list(next(iter(rows.values())))
    base = np.array([row[names[0]] for row in rows.values()])
    found = {}
    for name in names:
        values = np.array([row[name] for row in rows.values()])
        found[name] = {"mean": float(values.mean()), "worse_in": int((values > base).sum())}
    return found


def report(rows):
    print(f"\n{', '.join(rows)}")
    for name, found in summary(rows).items():
        each = "  ".join(f"{row[name]:6.2%}" for row in rows.values())
        worse = f"worse in {found['worse_in']} of {len(rows)}"
        print(f"{name:34} {found['mean']:6.2%}  {worse:16} {each}", flush=True)


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "summary": summary(rows),
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
