"""The progress of a command: one line on a terminal, and TensorBoard's event files."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.text import Text

from qsdnn.agents.base import Episode
from qsdnn.errors import InputError
from qsdnn.listener import Silent

BAR = 20
"""The width of the bar, in characters."""


class Terminal(Silent):
    """Shows one line: the phase, a bar with the remaining time, and notes above; all on stderr.

    Without a terminal each phase is printed on a line of its own, so that logs stay readable.

    Args:
        quiet: Whether to show notes only.
        budget_s: The wall time of the whole command; the bar counts down against it. Without one
            the bar counts the steps of each phase.
    """

    def __init__(self, *, quiet: bool = False, budget_s: float | None = None) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._quiet = quiet
        self._budget_s = budget_s
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *(_by_steps() if budget_s is None else _by_time()),
            TextColumn("[dim]{task.fields[status]}"),
            console=self._console,
            disable=not self._live,
            transient=True,
        )
        self._task: TaskID | None = None
        self._phase = ""

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
        """Shows a phase's name; counts its steps where there is no budget, without end when 0."""
        if self._budget_s is None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=steps or None, status="")
        elif self._task is None:
            self._task = self._progress.add_task(name, total=self._budget_s, status="", best="")
        else:
            self._progress.update(self._task, description=name, status="")
        if not self._live and not self._quiet and name != self._phase:
            self._console.print(f"{name} …", highlight=False)
        self._phase = name

    def step(self) -> None:
        """Moves the bar on by one, where the bar counts steps."""
        if self._task is not None and self._budget_s is None:
            self._progress.advance(self._task)

    def status(self, text: str) -> None:
        """Shows behind the bar what is being done."""
        if self._task is not None:
            self._progress.update(self._task, status=text)

    def waited(self, seconds: float) -> None:
        """Lets the bar count down for longer, where there is a budget."""
        if self._task is not None and self._budget_s is not None:
            self._progress.update(self._task, total=self._budget_s + seconds)

    def best(self, latency_ms: float) -> None:
        """Shows the least latency so far, where there is a budget."""
        if self._task is not None and self._budget_s is not None:
            self._progress.update(self._task, best=f"best {latency_ms:.3f} ms")

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(f"[yellow]note:[/] {escape(text)}", highlight=False)

    def episode(self, round_number: int, episode: Episode) -> None:
        """Shows how the agent learns; moves the bar where the bar counts steps."""
        self.status(f"learned {episode.best_ms:.3f} ms, epsilon {episode.epsilon:.2f}")
        if self._task is not None and self._budget_s is None:
            self._progress.update(self._task, completed=episode.number + 1)


def _by_steps() -> tuple[ProgressColumn, ...]:
    return (BarColumn(BAR), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())


def _by_time() -> tuple[ProgressColumn, ...]:
    return (_TimeBar(), _Countdown(), TextColumn("{task.fields[best]}"))


class _TimeBar(ProgressColumn):
    """The bar of how much of a time limit is over."""

    def render(self, task: Task) -> ProgressBar:
        total = task.total or 1.0
        return ProgressBar(total=total, completed=min(task.elapsed or 0.0, total), width=BAR)


class _Countdown(ProgressColumn):
    """The time that is left at the most."""

    def render(self, task: Task) -> Text:
        left_s = max(0, round((task.total or 0.0) - (task.elapsed or 0.0)))
        return Text(f"at most {left_s // 60}:{left_s % 60:02d} left")


class EventLog(Silent):
    """A listener that writes scalars to an event file: ``tensorboard --logdir DIR`` shows them.

    Tags: ``episode/return``, ``episode/best_ms``, ``episode/epsilon`` by episode over all rounds;
    and the figures that the search names, by steps of their own.

    Args:
        folder: The folder of the event files, made if absent.

    Raises:
        InputError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(folder))
        except OSError as error:
            raise InputError(f"cannot write event files to {folder}: {error.strerror}") from error
        self._episodes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def episode(self, round_number: int, episode: Episode) -> None:
        """Writes an episode's points of the learning curve."""
        self.scalar("episode/return", -episode.latency_ms, self._episodes)
        self.scalar("episode/best_ms", episode.best_ms, self._episodes)
        self.scalar("episode/epsilon", episode.epsilon, self._episodes)
        self.scalar("episode/round", round_number, self._episodes)
        self._episodes += 1

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Writes one point of a figure."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
