"""The network and the board of a search, ready to measure."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

from qsdnn.board import ANY, Board, Reference, check_threads
from qsdnn.engine import Compiler, load_engines
from qsdnn.errors import InputError
from qsdnn.listener import Listener
from qsdnn.measure.measurer import Measurer
from qsdnn.model import load_graph
from qsdnn.model.acceptance import check_repeatable, precision_notes
from qsdnn.model.calibration import Calibration
from qsdnn.model.feeds import random_feeds, read_feeds
from qsdnn.model.layer import Graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn.space import space_of
from qsdnn.store import Store
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.limits.assessor import Samples, calibrate, read_samples
from qsdnn.tuning.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A network and a board, ready to measure.

    Attributes:
        bench: The bench that builds and measures plans.
        graph: The network.
        samples: The user's samples; None where no accuracy may be lost.
        calibration: The ranges of the network's tensors on those samples; None where int8 is not
            allowed.
    """

    bench: Bench
    graph: Graph
    samples: Samples | None = None
    calibration: Calibration | None = None


def prepare(
    config: SearchConfig,
    board: Board,
    store: Store,
    listener: Listener,
    folder: Path,
    stopwatch: Stopwatch | None = None,
) -> Prepared:
    """Loads a network and sets up all that builds and measures its plans.

    Args:
        config: The settings of the search.
        board: The board, already started.
        store: The store that keeps the measurements.
        listener: The listener that is told of progress.
        folder: The folder of the artifacts.
        stopwatch: The stopwatch of the search; None begins one.
    """
    engines = load_engines(config.engines)
    listener.phase("Loading", 2)
    with ThreadPoolExecutor(1) as meanwhile:  # the board's engines take as long to load
        probing = meanwhile.submit(board.probe)
        graph = load_graph(config.model, config.shapes, workdir=folder)
        check_repeatable(graph)
    listener.step()
    for layer in graph.layers:
        if layer.pinned:
            listener.note(f"layer '{layer.name}' runs in onnxruntime only: {layer.pinned}")
    for note in precision_notes(graph):
        listener.note(note)
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    samples = calibration = None
    if config.accuracy is not None:
        samples = read_samples(config.accuracy, graph, config.seed)
        if Precision.INT8 in config.precisions:
            calibration = calibrate(config.accuracy, graph, samples)
    builder = Builder(
        graph,
        engines,
        folder,
        threads=config.threads,
        calibration=calibration,
        infos=probing.result().engines,
    )
    path = config.inputs
    feeds = read_feeds(path, inputs) if path else random_feeds(inputs, config.seed)
    measurer = Measurer(
        board,
        store,
        builder.reference,
        Reference(feeds=feeds, tolerance=config.tolerance if samples is None else ANY),
        remeasure=config.remeasure,
        on_note=listener.note,
    )
    check_threads(measurer.info, config.threads)
    listener.step()
    absent = sorted(set(config.engines or ()) - set(measurer.info.engines))
    if absent:
        raise InputError(
            f"the board {measurer.info.name} does not have {', '.join(absent)}",
            hint=f"it has {', '.join(measurer.info.engines)}; {_adding(absent)}",
        )
    for name, engine in engines.items():
        for lack in measurer.info.engines[name].lacks if name in measurer.info.engines else ():
            listener.note(f"{name}: {lack}")
        if isinstance(engine, Compiler) and name in measurer.info.engines:
            refusal = engine.refusal(measurer.info.engines[name])
            if refusal:
                listener.note(f"nothing is tried in {name}: {refusal}")
    space = space_of(graph, engines, measurer.info.engines, config.precisions)
    for precision in set(config.precisions) - {p.precision for p in space.primitives}:
        listener.note(f"no engine on the board computes in {precision}")
    bench = Bench(space, builder, measurer, config, listener, stopwatch)
    bench.stopwatch.prepared()
    return Prepared(bench=bench, graph=graph, samples=samples, calibration=calibration)


def _adding(engines: Sequence[str]) -> str:
    """The command that adds engines here: those that are no part of all are named."""
    extras = metadata("qsdnn").get_all("Provides-Extra") or []
    named = [name for name in engines if name in extras]
    words = "all" if not named else "it" if len(engines) == 1 else "them"
    return f"to add {words}: pip install 'qsdnn[{','.join(named) or 'all'}]'"
