"""The search: profile, then learn on the model and measure on the board in turn, then verify."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from qsdnn.agents import agent
from qsdnn.board import Board
from qsdnn.build import Builder
from qsdnn.cost.model import CostModel
from qsdnn.engine import load_engines
from qsdnn.errors import InputError
from qsdnn.feeds import random_feeds, read_feeds
from qsdnn.graph import load_graph
from qsdnn.graph.layer import Graph
from qsdnn.search.config import SearchConfig
from qsdnn.search.final import Final, finish
from qsdnn.search.listener import Listener
from qsdnn.search.measurer import Measurer
from qsdnn.search.profile import Profile, profile, usable
from qsdnn.search.rounds import Learning, Rounds, distinct
from qsdnn.search.trial import Bench
from qsdnn.space import space_of
from qsdnn.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        config: What was asked.
        graph: The network; its weights file is gone.
        cost: The last cost model, and the space in it.
        profile: The uniform plans.
        learning: What the agent did.
        final: The plan that won, verified.
        measurer: What was measured, and where.
        wall_s: How long it all took.
    """

    config: SearchConfig
    graph: Graph
    cost: CostModel
    profile: Profile = field(repr=False)
    learning: Learning
    final: Final
    measurer: Measurer = field(repr=False)
    wall_s: float


def search(config: SearchConfig, board: Board, store: Store, listener: Listener) -> Found:
    """Finds the fastest plan of a network on a board.

    Args:
        config: What is asked.
        board: Started.
        store: Where measurements are kept and found again.
        listener: Told of progress.

    Raises:
        QsdnnError: Anything the user can act on.
    """
    start = time.monotonic()
    learner = agent(config.agent, config.preset)  # a wrong name fails before measuring
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        bench, graph = prepare(config, board, store, listener, Path(scratch))
        listener.phase("Profiling", 0)
        measured = profile(bench)
        bench.space, measured = usable(bench.space, measured)
        rounds = Rounds(bench, measured, learner)
        rounds.explore()
        cost = rounds.run(start + config.budget_s)
        final = finish(bench, measured, distinct(rounds.trials))
        return Found(
            config=config,
            graph=graph,
            cost=cost,
            profile=measured,
            learning=rounds.learning,
            final=final,
            measurer=bench.measurer,
            wall_s=time.monotonic() - start,
        )


def prepare(
    config: SearchConfig, board: Board, store: Store, listener: Listener, folder: Path
) -> tuple[Bench, Graph]:
    """Loads a network and sets up all that builds and measures its plans.

    Args:
        config: What is asked.
        board: Started.
        store: Where measurements are kept.
        listener: Told of progress.
        folder: Where artifacts go.
    """
    engines = load_engines(config.engines)
    listener.phase("Loading", 2)
    graph = load_graph(config.model, config.shapes, workdir=folder)
    listener.step()
    for layer in graph.layers:
        if layer.pinned:
            listener.note(f"layer '{layer.name}' runs in onnxruntime only: {layer.pinned}")
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    builder = Builder(graph, engines, folder, threads=config.threads)
    measurer = Measurer(
        board,
        store,
        builder.reference,
        read_feeds(config.inputs, inputs) if config.inputs else random_feeds(inputs, config.seed),
        tolerance=config.tolerance,
        remeasure=config.remeasure,
    )
    listener.step()
    absent = sorted(set(config.engines or ()) - set(measurer.info.engines))
    if absent:
        raise InputError(
            f"the board {measurer.info.name} does not have {', '.join(absent)}",
            hint=f"it has {', '.join(measurer.info.engines)}; to add all: pip install 'qsdnn[all]'",
        )
    space = space_of(graph, engines, measurer.info.engines, config.precisions)
    for precision in set(config.precisions) - {p.precision for p in space.primitives}:
        listener.note(f"no engine on the board computes in {precision}")
    return Bench(space, builder, measurer, config, listener), graph
