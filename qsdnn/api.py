"""The Python API: what ``import qsdnn`` offers, and what the command line is thin over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from qsdnn.accuracy.loss import AccuracyConfig, parse_loss_limit
from qsdnn.board import Board, Care, open_board
from qsdnn.errors import InputError
from qsdnn.listener import Listener, Several, Silent
from qsdnn.measure.comparison import Comparison, compare_on
from qsdnn.measure.replay import Replayed, replay_on
from qsdnn.plan import Plan, read_plan
from qsdnn.primitive import Precision
from qsdnn.store import Store
from qsdnn.tuning.config import Objective, SearchConfig
from qsdnn.tuning.result import Result
from qsdnn.tuning.search import search as run


def search(
    model: str | Path,
    *,
    board: str | Board = "local",
    shapes: Mapping[str, Sequence[int]] | None = None,
    engines: Sequence[str] | None = None,
    precisions: Sequence[str] = (),
    threads: int = 1,
    agent: str = "q-learning",
    preset: str = "default",
    episodes: int = 1000,
    budget_s: float = 300.0,
    measurements: int | None = None,
    until: float | None = None,
    seed: int = 0,
    calibration: str | Path | None = None,
    max_drop: float | str | None = None,
    min_sqnr_db: float | None = None,
    objective: str = "latency",
    max_memory_mb: float | None = None,
    max_latency_ms: float | None = None,
    max_energy_mj: float | None = None,
    inputs: str | Path | None = None,
    tolerance: float = 1e-4,
    store: str | Path | None = None,
    remeasure: bool = False,
    listener: Listener | None = None,
) -> Result:
    """Finds the fastest plan of a network on a board, by measuring on the board.

    Args:
        model: The network, an ONNX file.
        board: The name of a board, or a started board (see `open_board`).
        shapes: The dimensions of the network's dynamic inputs, by input name.
        engines: The engines to choose from; None takes all that the board has.
        precisions: The precisions to choose from besides ``fp32``: ``tf32``, ``bf16``, ``fp16``,
            ``int8``; where accuracy may be lost and none is named, all.
        threads: The number of threads that an engine may use.
        agent: The name of the agent that learns: see `qsdnn.agents.names`.
        preset: The name of the agent's settings.
        episodes: The number of episodes of a round of learning.
        budget_s: The wall time of the whole search, in seconds.
        measurements: The number of plans to measure at the most; None is any number.
        until: The certainty at which the search ends: that no plan in view gains over 1 %, by the
            cost model; None ends it at 95 %, or when the best plan has held for two rounds.
        seed: The seed of every random number.
        calibration: The file or folder of samples, where accuracy may be lost; None allows no loss.
        max_drop: The largest loss of accuracy: ``0.01``, absolute, or ``"1%"`` of the score of
            fp32.
        min_sqnr_db: The least ratio of signal to quantization noise of the outputs, in dB.
        objective: The quantity that the plan is to have least of: ``latency``, ``memory`` or
            ``energy``.
        max_memory_mb: The most memory that a plan may take.
        max_latency_ms: The largest latency that a plan may have.
        max_energy_mj: The most energy that one inference may take.
        inputs: The ``.npz`` file of inputs to measure and verify with; None takes random ones.
        tolerance: The largest error of an output, relative to its largest magnitude.
        store: The database of measurements, a path or URL; None is the user's own.
        remeasure: Whether all is measured anew, whatever the store knows.
        listener: The listener that is told of progress.

    Raises:
        QsdnnError: Anything the user can act on: `InputError`, `BoardError`, `InfeasibleError`,
            `VerificationError`.
    """
    asked = tuple(Precision(name) for name in dict.fromkeys(["fp32", *precisions]))
    config = SearchConfig(
        model=Path(model),
        shapes={name: tuple(shape) for name, shape in (shapes or {}).items()},
        engines=None if engines is None else tuple(engines),
        precisions=tuple(Precision) if calibration is not None and not precisions else asked,
        threads=threads,
        agent=agent,
        preset=preset,
        episodes=episodes,
        budget_s=budget_s,
        measurements=measurements,
        until=until,
        seed=seed,
        inputs=None if inputs is None else Path(inputs),
        tolerance=tolerance,
        remeasure=remeasure,
        accuracy=_accuracy(calibration, max_drop, min_sqnr_db, precisions),
        objective=Objective(objective),
        max_memory_mb=max_memory_mb,
        max_latency_ms=max_latency_ms,
        max_energy_mj=max_energy_mj,
        command="qsdnn.search",
    )
    return search_for(config, board=board, store=store, listener=listener)


def search_for(
    config: SearchConfig,
    *,
    board: str | Board = "local",
    care: Care | None = None,
    store: str | Path | None = None,
    listener: Listener | None = None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    start_s: float | None = None,
) -> Result:
    """The search that a `SearchConfig` describes.

    Args:
        config: The settings of the search.
        board: The name of a board, or a started board.
        care: How the board is treated while it measures; None is as usual.
        store: The database of measurements, a path or URL; None is the user's own.
        listener: The listener that is told of progress.
        on_plan: Called with the best plan so far, an interim one, whenever a better one is found.
        start_s: The time by `time.monotonic` when the budget began; None is now.

    Raises:
        QsdnnError: Anything the user can act on.
    """
    notes = _Notes()
    with ExitStack() as stack:
        machine = _started(board, stack, care)
        opened = stack.enter_context(Store(None if store is None else str(store)))
        heard = Several(notes, listener or Silent())
        found = run(config, machine, opened, heard, on_plan, start_s)
    return Result(found=found, notes=tuple(notes.texts))


def compare(
    *subjects: str | Path,
    board: str | Board = "local",
    model: str | Path | None = None,
    threads: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    budget_s: float = 10.0,
    min_runs: int = 20,
    listener: Listener | None = None,
) -> Comparison:
    """Measures plans, packages and models side by side, in turns.

    Args:
        subjects: The paths: a ``plan.json``, a package's folder or zip, or ``model.onnx@ENGINE``,
            the model in that engine alone, as the engine comes; ``@ENGINE/ALGORITHM`` has all
            layers that can take it run by that algorithm.
        board: The name of a board, or a started board.
        model: The network of the plans; None takes the file that the plans name.
        threads: The number of threads that an engine may use; None takes that of the first plan or
            package, else 1.
        shapes: The dimensions of a model's dynamic inputs, by input name.
        budget_s: The measuring time, in seconds.
        min_runs: The number of runs of each subject at the least.
        listener: The listener that is told of progress.

    Raises:
        QsdnnError: Anything the user can act on.
    """
    with ExitStack() as stack:
        return compare_on(
            _started(board, stack),
            [Path(subject) for subject in subjects],
            listener=listener or Silent(),
            model=None if model is None else Path(model),
            threads=threads,
            shapes={name: tuple(shape) for name, shape in (shapes or {}).items()},
            budget_s=budget_s,
            min_runs=min_runs,
        )


def replay(
    plan: str | Path,
    *,
    board: str | Board = "local",
    model: str | Path | None = None,
    seed: int = 1,
    tolerance: float = 1e-4,
    listener: Listener | None = None,
) -> Replayed:
    """Builds a plan again, verifies its outputs against onnxruntime fp32, and measures it.

    Args:
        plan: The plan's file.
        board: The name of a board, or a started board.
        model: The plan's network; None takes the file that the plan names.
        seed: The seed of the random inputs.
        tolerance: The largest error of an output, relative to its largest magnitude.
        listener: The listener that is told of progress.

    Raises:
        QsdnnError: Anything the user can act on; `VerificationError` where the outputs differ.
    """
    with ExitStack() as stack:
        return replay_on(
            _started(board, stack),
            Path(plan),
            listener=listener or Silent(),
            model=None if model is None else Path(model),
            seed=seed,
            tolerance=tolerance,
        )


def load_plan(path: str | Path) -> Plan:
    """The plan in a file.

    Raises:
        PlanError: The file cannot be read, or holds no plan.
    """
    return read_plan(Path(path))


def _started(board: str | Board, stack: ExitStack, care: Care | None = None) -> Board:
    return stack.enter_context(open_board(board, care)) if isinstance(board, str) else board


def _accuracy(
    calibration: str | Path | None,
    max_drop: float | str | None,
    min_sqnr_db: float | None,
    precisions: Sequence[str],
) -> AccuracyConfig | None:
    limited = max_drop is not None or min_sqnr_db is not None
    if calibration is None:
        if limited or set(precisions) - {"fp32"}:
            raise InputError(
                "a loss of accuracy needs data to be measured on",
                hint="give calibration='data.npz'",
            )
        return None
    if not limited:
        raise InputError(
            "calibration without a limit: how much accuracy may be lost?",
            hint="give max_drop='1%' or min_sqnr_db=30",
        )
    drop = None if max_drop is None else str(max_drop)
    sqnr = None if min_sqnr_db is None else str(min_sqnr_db)
    return AccuracyConfig(calibration=Path(calibration), loss_limit=parse_loss_limit(drop, sqnr))


class _Notes(Silent):
    """A listener that keeps the notes that a person should read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)
