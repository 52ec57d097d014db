"""A board: a machine that measures and runs. What it is asked, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from qsdnn.engine import EngineInfo
from qsdnn.errors import InputError, unknown
from qsdnn.latency import quiet_ms, quiet_segment_ms, undisturbed
from qsdnn_runtime.protocol import Context as Context
from qsdnn_runtime.protocol import MeasureOptions as MeasureOptions
from qsdnn_runtime.protocol import State as State
from qsdnn_runtime.protocol import Step as Step
from qsdnn_runtime.protocol import Trust as Trust

GROUP = "qsdnn.boards"

SITTINGS = 9
"""Sittings of what is claimed: the fewest whose range holds the median with 95 % confidence (six is
enough for that) without the least and the greatest, so that one unlucky process decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """What a board is.

    Attributes:
        name: As the user calls it.
        fingerprint: Hash of what makes measurements comparable: processor model, instruction
            set, cores, memory, operating system, and not load or temperature.
        engines: The engines it has, by name.
        facts: The rest, for people and records: ``cpu``, ``isa``, ``cores``, ``memory_mb``,
            ``os``, ``python``, ``numpy``.
    """

    name: str
    fingerprint: str
    engines: Mapping[str, EngineInfo]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A built plan, as files in one folder.

    Attributes:
        manifest: The content of ``manifest.json`` (see `qsdnn_runtime.program.manifest`).
        folder: Holds the artifacts the manifest names.
        digest: Hash of the manifest, which names artifacts by content: equal digests run alike.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """How a board is treated while it measures.

    Attributes:
        performance_mode: Whether to set it before measuring, and set back at the end what held
            before; None: as the board does when nobody says.
        max_temperature_c: Measure at this temperature or below; None: as is right for the board.
        cooling_limit_s: The longest wait for that, each time.
        wait_s: The longest wait for another host that measures on it.
    """

    performance_mode: bool | None = None
    max_temperature_c: float | None = None
    cooling_limit_s: float = 180.0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an engine says it executed for a layer: the primitive, and its own kernel's name."""

    primitive: str
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of measuring one package.

    Attributes:
        state: How it ended; the numbers below are there only when it is `State.OK`.
        error: For people, when it did not end well: what, and the last lines of stderr.
        step: What the child process did when it crashed or hung; None where none did.
        runs_ms: End-to-end latency of each counted run, in the order they were made.
        segments_ms: For each counted run, the time of each segment.
        disturbed: Which of the runs waited for a processor that others took, by their number.
        ci95_ms: 95 % interval of the median (order statistics).
        load_ms: Time to load and bind.
        layers_ms: With `profile`: time of each layer by index, as profiled (not scaled).
        applied: With `profile`: what was executed, by layer index.
        max_error: Largest difference from the reference outputs, relative to the largest
            magnitude of each output; None when there was no reference.
        peak_memory_mb: With `memory`: most memory that a process took which loaded it and ran it,
            the interpreter and the engines' libraries in it.
        trust: How far the latency may be believed.
        context: Under what it was measured. Versions of engines are in the store, beside it.
    """

    state: State
    error: str = ""
    step: Step | None = None
    runs_ms: tuple[float, ...] = ()
    segments_ms: tuple[tuple[float, ...], ...] = ()
    disturbed: tuple[int, ...] = ()
    ci95_ms: tuple[float, float] = (0.0, 0.0)
    load_ms: float = 0.0
    layers_ms: Mapping[int, float] = field(default_factory=dict)
    applied: Mapping[int, Applied] = field(default_factory=dict)
    max_error: float | None = None
    peak_memory_mb: float | None = None
    trust: Trust = Trust.STABLE
    context: Context = field(default_factory=Context)

    @property
    def latency_ms(self) -> float:
        """Median of the runs that were not disturbed; of all where too few were not."""
        return float(np.nanmedian(np.concatenate(self.undisturbed)))

    @property
    def quiet_ms(self) -> float:
        """Latency when nothing else disturbs, which plans are ranked by: see `qsdnn.latency`."""
        return quiet_ms(self.undisturbed)

    @property
    def quiet_segment_ms(self) -> tuple[float, ...]:
        """Time of each segment then: with the loop around them they sum to `quiet_ms`."""
        rows = np.array(self.segments_ms)
        around = np.array(self.runs_ms) - rows.sum(axis=1)
        return quiet_segment_ms(self._split(rows), self._split(around), self.quiet_ms)

    @property
    def sittings_ms(self) -> tuple[tuple[float, ...], ...]:
        """The counted runs of each process, in their order."""
        return tuple(tuple(part.tolist()) for part in self._split(np.array(self.runs_ms)))

    @property
    def undisturbed(self) -> list[NDArray[np.float64]]:
        """As `sittings_ms`, with NaN for the disturbed, unless too few are not."""
        return undisturbed(self.sittings_ms, self.disturbed)

    def _split(self, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """A row for each run, by the process that made it."""
        counts = self.context.get("sittings", [len(rows)])
        return np.split(rows, np.cumsum(counts)[:-1])

    @property
    def notes(self) -> tuple[str, ...]:
        """What the board has to say to the user, e.g. that its performance mode was not set."""
        return tuple(self.context.get("notes", ()))

    @property
    def segment_ms(self) -> tuple[float, ...]:
        """Median of the counted runs, for each segment."""
        return tuple(median(column) for column in zip(*self.segments_ms, strict=True))


ANY = 1e9
"""A tolerance that nothing exceeds: for plans that may lose accuracy, which is asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Inputs for every measurement, and the outputs they must give.

    Attributes:
        feeds: Inputs by name.
        outputs: What onnxruntime in fp32 gives for them; None while it is not known yet.
        tolerance: Largest `Record.max_error` that is not `State.WRONG_OUTPUT`.
    """

    feeds: Mapping[str, np.ndarray[Any, Any]]
    outputs: Mapping[str, np.ndarray[Any, Any]] | None = None
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a package gave for many inputs.

    Attributes:
        state: How it ended; there are outputs only when it is `State.OK`.
        error: For people, when it did not end well.
        outputs: By name, (runs, *shape of the output).
    """

    state: State
    error: str = ""
    outputs: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict, repr=False)


class Board(Protocol):
    """A machine that measures and runs, local or remote. Use it as a context manager.

    Attributes:
        name: As the user calls it.
        care: How it is treated; may be set until it first measures.
    """

    name: str
    care: Care

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def elsewhere(self) -> bool:
        """Whether what this machine does while the board measures does not disturb that.

        False while it is not known, which it is once the board was probed.
        """
        ...

    def probe(self) -> BoardInfo:
        """What the board is and has. Asked once, then remembered.

        Raises:
            BoardError: The board cannot be reached.
        """
        ...

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """Measures packages interleaved with one another; one record each, in their order.

        An engine's crash, hang or refusal is a record with a state; so is a lost board.
        """
        ...

    def run(
        self,
        package: Package,
        feeds: Mapping[str, Any],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Runs a package once; outputs by name.

        Raises:
            RunError: The run failed there.
            BoardError: The board was lost.
        """
        ...

    def evaluate(
        self,
        packages: Sequence[Package],
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Evaluation]:
        """Runs packages over many inputs, each loaded once; one evaluation each, in their order.

        An engine's crash, hang or refusal is an evaluation with a state; so is a lost board.

        Args:
            packages: What to run.
            inputs: By name, (runs, *shape of the input); sent once while the board is open.
            threads: Threads an engine may use.
            on_progress: Told what the board does.

        Raises:
            BoardError: The board is in use, or refuses what it is sent.
        """
        ...


class BoardFinder(Protocol):
    """Finds boards of one kind by name; registered as an entry point."""

    def names(self) -> Sequence[str]:
        """The boards that could be named now, for messages and lists."""
        ...

    def find(self, name: str) -> Board | None:
        """The board of that name, not yet started; None when it is none of this kind's.

        Raises:
            InputError: It is one, but something about it must be said first, e.g. its address.
        """
        ...


def open_board(name: str, care: Care | None = None) -> Board:
    """The board of that name, not yet started.

    Args:
        name: As the user calls it.
        care: How it is treated, if not as usual.

    Raises:
        InputError: No such board is known.
    """
    finders: list[BoardFinder] = [point.load() for point in entry_points(group=GROUP)]
    for finder in finders:
        board = finder.find(name)
        if board is not None:
            board.care = care or board.care
            return board
    raise unknown("board", name, [known for finder in finders for known in finder.names()])


def check_threads(info: BoardInfo, threads: int) -> None:
    """Makes sure that a board has a core for each thread: else they wait for one another.

    Raises:
        InputError: It has fewer.
    """
    cores = info.facts.get("cores", threads)
    if threads > cores:
        raise InputError(
            f"--threads {threads}: the board {info.name} has {cores} "
            f"{'core' if cores == 1 else 'cores'}: more threads would wait for one another",
            hint=f"at the most: --threads {cores}",
        )
