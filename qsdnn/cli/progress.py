"""Progress on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qsdnn.agents._base import Episode
from qsdnn.search.listener import Silent


class Terminal(Silent):
    """Shows the phase, its bar with remaining time, and notes above it; all on stderr.

    Without a terminal it prints a line a phase, so that logs stay readable.

    Args:
        quiet: Show notes only.
    """

    def __init__(self, *, quiet: bool = False) -> None:
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
        self._task = self._progress.add_task("Starting", total=None, status="")

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
        self._progress.reset(self._task, total=steps or None, description=name, status="")
        if not self._live and not self._quiet:
            self._console.print(f"{name} …", highlight=False)

    def step(self) -> None:
        """Moves the bar."""
        self._progress.advance(self._task)

    def status(self, text: str) -> None:
        """Shows what is being done, behind the bar."""
        self._progress.update(self._task, status=text)

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(f"[yellow]note:[/] {text}", highlight=False)

    def episode(self, round_number: int, episode: Episode) -> None:
        """Moves the bar of the learning phase."""
        status = f"best {episode.best_ms:.3f} ms, epsilon {episode.epsilon:.2f}"
        self._progress.update(self._task, completed=episode.number + 1, status=status)
