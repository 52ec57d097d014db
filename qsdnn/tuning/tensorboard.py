"""The TensorBoard event files of a search."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from qsdnn.agents.base import Episode
from qsdnn.errors import InputError
from qsdnn.listener import Silent


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
