"""The board, a machine that measures and runs: what it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from qsdnn.engine import EngineInfo
from qsdnn.errors import InputError, unknown
from qsdnn.latency import quiet_ms, quiet_segment_ms, undisturbed
from qsdnn.plugin import registered
from qsdnn_runtime.protocol import Context as Context
from qsdnn_runtime.protocol import MeasureOptions as MeasureOptions
from qsdnn_runtime.protocol import State as State
from qsdnn_runtime.protocol import Step as Step
from qsdnn_runtime.protocol import Trust as Trust

GROUP = "qsdnn.boards"

SITTINGS = 9
"""The number of sittings of what is claimed: the fewest whose range holds the median with 95 %
confidence (six is enough for that) without the least and the greatest, so that one unlucky process
decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInfo:
    """The description of a board.

    Attributes:
        name: The name that the user calls the board by.
        fingerprint: The hash of what makes measurements comparable: processor model, instruction
            set, cores, memory, operating system, and not load or temperature.
        engines: The engines that the board has, by name.
        facts: The other facts of the board, for people and records: ``cpu``, ``isa``, ``cores``,
            ``memory_mb``, ``os``, ``python``, ``numpy``.
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
        folder: The folder with the artifacts that the manifest names.
        digest: The hash of the manifest, which names artifacts by content: packages of equal
            digests run alike.
    """

    manifest: Mapping[str, Any] = field(repr=False)
    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """The treatment of a board while it measures.

    Attributes:
        performance_mode: Whether to set the board's performance mode before measuring, and restore
            the earlier mode at the end; None: as the board does when nobody says.
        max_temperature_c: The temperature to measure at or below; None: as is right for the board.
        cooling_limit_s: The longest wait for that temperature, each time.
        wait_s: The longest wait for another host that measures on the board.
        cold: Whether each run follows one of another package and finds cold caches, as in a program
            that does other things between two inferences; else packages run several times in turn,
            as in a loop.
    """

    performance_mode: bool | None = None
    max_temperature_c: float | None = None
    cooling_limit_s: float = 180.0
    wait_s: float = 0.0
    cold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The primitive that an engine says it executed for a layer, and the engine's kernel."""

    primitive: str
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of measuring one package.

    Attributes:
        state: The way that measuring ended; the numbers below are there only when it is `State.OK`.
        error: The message for people when measuring did not end well: what failed, and the last
            lines of stderr.
        step: The step that the child process was at when it crashed or hung; None where none did.
        runs_ms: The end-to-end latency of each counted run, in the order of the runs.
        segments_ms: The time of each segment, for each counted run.
        disturbed: The numbers of the runs that waited for a processor that others took.
        ci95_ms: The 95 % interval of the median (order statistics).
        load_ms: The time to load and bind.
        layers_ms: The time of each layer by index, as profiled (not scaled); empty without
            `profile`.
        applied: What was executed for each layer, by layer index; empty without `profile`.
        max_error: The largest difference from the reference outputs, relative to the largest
            magnitude of each output; None when there was no reference.
        peak_memory_mb: The most memory that a process took which loaded the package and ran it, the
            interpreter and the engines' libraries included; None without `memory`.
        trust: The trust in the latency: how far it may be believed.
        context: The conditions of measuring. Versions of engines are in the store, beside the
            record.
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
        """The median of the undisturbed runs; of all runs where too few were undisturbed."""
        return float(np.nanmedian(np.concatenate(self.undisturbed)))

    @property
    def quiet_ms(self) -> float:
        """The latency when nothing else disturbs, which ranks plans: see `qsdnn.latency`."""
        return quiet_ms(self.undisturbed)

    @property
    def quiet_segment_ms(self) -> tuple[float, ...]:
        """The time of each segment in a quiet run; with the loop around them `quiet_ms`."""
        rows = np.array(self.segments_ms)
        around = np.array(self.runs_ms) - rows.sum(axis=1)
        return quiet_segment_ms(self._split(rows), self._split(around), self.quiet_ms)

    @property
    def sittings_ms(self) -> tuple[tuple[float, ...], ...]:
        """The counted runs of each process, in the order of the runs."""
        return tuple(tuple(part.tolist()) for part in self._split(np.array(self.runs_ms)))

    @property
    def undisturbed(self) -> list[NDArray[np.float64]]:
        """The runs of `sittings_ms` with NaN for the disturbed ones, unless too few are left."""
        return undisturbed(self.sittings_ms, self.disturbed)

    def _split(self, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """The rows of an array, one for each run, split by the process that made the run."""
        counts = self.context.get("sittings", [len(rows)])
        return np.split(rows, np.cumsum(counts)[:-1])

    @property
    def notes(self) -> tuple[str, ...]:
        """The board's notes to the user, e.g. that its performance mode was not set."""
        return tuple(self.context.get("notes", ()))

    @property
    def segment_ms(self) -> tuple[float, ...]:
        """The median of the counted runs, for each segment."""
        return tuple(median(column) for column in zip(*self.segments_ms, strict=True))


ANY = 1e9
"""A tolerance that nothing exceeds: for plans whose loss of accuracy is limited otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The inputs of every measurement, and the outputs that plans must give.

    Attributes:
        feeds: The inputs, by name.
        outputs: The outputs of onnxruntime in fp32 for those inputs; None while they are not known
            yet.
        tolerance: The largest `Record.max_error` that is not `State.WRONG_OUTPUT`.
    """

    feeds: Mapping[str, np.ndarray[Any, Any]]
    outputs: Mapping[str, np.ndarray[Any, Any]] | None = None
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The outputs of a package for many inputs.

    Attributes:
        state: The way that running ended; there are outputs only when it is `State.OK`.
        error: The message for people, when running did not end well.
        outputs: The outputs by name, each (runs, *shape of the output).
    """

    state: State
    error: str = ""
    outputs: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict, repr=False)


class Board(Protocol):
    """A machine that measures and runs, local or remote. Use it as a context manager.

    Attributes:
        name: The name that the user calls the board by.
        care: The treatment of the board; it may be set until the board first measures.
        spent_s: The time in seconds that its processes have spent in each `Step` of measuring.
    """

    name: str
    care: Care
    spent_s: dict[str, float]

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    @property
    def elsewhere(self) -> bool:
        """Whether this machine's work leaves the board's measurements undisturbed.

        False while that is not known; it is known once the board was probed.
        """
        ...

    def probe(self) -> BoardInfo:
        """The description of the board. It is asked for once, then remembered.

        Raises:
            BoardError: The board cannot be reached.
        """
        ...

    def hold(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Has the board measure for this host alone, from now on; a busy board is waited for.

        What needs the board does the same before it begins. Where the wait must not count, the
        board is held first.

        Args:
            on_progress: Called with texts that say whom the board waits for.

        Raises:
            BoardError: Another host still measures on the board after `Care.wait_s`, or the board
                was lost.
        """
        ...

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """Measures packages interleaved with one another; returns one record each, in their order.

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
        """Runs a package once; returns the outputs by name.

        Raises:
            RunError: The run failed on the board.
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
        """Runs packages over many inputs, loading each once; returns one evaluation each, in order.

        An engine's crash, hang or refusal is an evaluation with a state; so is a lost board.

        Args:
            packages: The packages to run.
            inputs: The inputs by name, each (runs, *shape of the input); sent once while the board
                is open.
            threads: The number of threads that an engine may use.
            on_progress: Called with texts that say what the board does.

        Raises:
            BoardError: The board is in use, or refuses what is sent.
        """
        ...


class BoardFinder(Protocol):
    """A finder of boards of one kind by name; registered as an entry point."""

    def names(self) -> Sequence[str]:
        """The names of the boards that could be named now, for messages and lists."""
        ...

    def find(self, name: str) -> Board | None:
        """The board of that name, not yet started; None when no board of this kind has it.

        Raises:
            InputError: The board is of this kind, but something about it must be said first, e.g.
                its address.
        """
        ...


def open_board(name: str, care: Care | None = None) -> Board:
    """The board of that name, not yet started.

    Args:
        name: The name that the user calls the board by.
        care: The treatment of the board; None is as usual.

    Raises:
        InputError: No such board is known.
    """
    finders: list[BoardFinder] = [point.load() for point in registered(GROUP)]
    for finder in finders:
        board = finder.find(name)
        if board is not None:
            board.care = care or board.care
            return board
    raise unknown("board", name, [known for finder in finders for known in finder.names()])


def check_threads(info: BoardInfo, threads: int) -> None:
    """Makes sure that a board has a core for each thread: else the threads wait for one another.

    Raises:
        InputError: The board has fewer cores than threads.
    """
    cores = info.facts.get("cores", threads)
    if threads > cores:
        raise InputError(
            f"--threads {threads}: the board {info.name} has {cores} "
            f"{'core' if cores == 1 else 'cores'}: more threads would wait for one another",
            hint=f"at the most: --threads {cores}",
        )
