"""Progress on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qsdnn.agents._base import Episode
from qsdnn.search.listener import Silent

SEARCH = {"Loading": 0.02, "Profiling": 0.3, "Exploring": 0.1, "Learning": 0.02, "Measuring": 0.1}
"""Share of a search's time that a phase takes, about; Learning and Measuring come twice or more,
Verifying takes the rest."""


class Terminal(Silent):
    """Shows the phase, its bar with remaining time, and notes above it; all on stderr.

    Without a terminal it prints a line a phase, so that logs stay readable.

    Args:
        quiet: Show notes only.
        shares: Share of the whole that each phase takes, by the first word of its name; with it a
            second bar shows the whole.
    """

    def __init__(self, *, quiet: bool = False, shares: Mapping[str, float] | None = None) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[status]}"),
            console=self._console,
            disable=not self._live,
        )
        self._shares = shares or {}
        self._whole = self._progress.add_task("Whole", total=100, status="", visible=bool(shares))
        self._task: TaskID | None = None
        self._ahead = 0.0  # of the whole, when the phase ends
        self._step = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def phase(self, name: str, steps: int) -> None:
        """Starts a new bar; one of unknown length when `steps` is 0."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=steps or None, status="")
        self._progress.update(self._whole, completed=self._ahead)
        share = 100 * self._shares.get(name.split()[0], 0.0)
        share = min(share, 95 - self._ahead)  # more rounds than usual
        self._ahead += share
        self._step = share / steps if steps else 0.0
        if not self._live and not self._quiet:
            self._console.print(f"{name} …", highlight=False)

    def step(self) -> None:
        """Moves the bars."""
        if self._task is not None:
            self._progress.advance(self._task)
        self._progress.advance(self._whole, self._step)

    def status(self, text: str) -> None:
        """Shows what is being done, behind the bar."""
        if self._task is not None:
            self._progress.update(self._task, status=text)

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(f"[yellow]note:[/] {escape(text)}", highlight=False)

    def episode(self, round_number: int, episode: Episode) -> None:
        """Moves the bar of the learning phase."""
        self.status(f"best {episode.best_ms:.3f} ms, epsilon {episode.epsilon:.2f}")
        if self._task is not None:
            self._progress.update(self._task, completed=episode.number + 1)
