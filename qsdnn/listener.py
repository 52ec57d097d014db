"""The listeners of a search, which want to know how it goes: terminal, TensorBoard, a program."""

from __future__ import annotations

from typing import Protocol

from qsdnn.agents.base import Episode


class Listener(Protocol):
    """A listener that is told of everything as it happens; its methods must not raise."""

    def phase(self, name: str, steps: int) -> None:
        """Called when a phase begins, which will take about that many steps."""

    def step(self) -> None:
        """Called when one step of the phase is done."""

    def status(self, text: str) -> None:
        """Called with what is being done right now, e.g. on the board."""

    def waited(self, seconds: float) -> None:
        """Called with the time so far that the board was waited for, which no budget counts."""

    def best(self, latency_ms: float) -> None:
        """Called with the least latency that was measured so far."""

    def note(self, text: str) -> None:
        """Called with something a person should read, e.g. a layer pinned to one engine."""

    def episode(self, round_number: int, episode: Episode) -> None:
        """Called when the agent finished an episode."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Called with a named figure, e.g. a measured latency."""


class Silent:
    """A listener that ignores everything."""

    def phase(self, name: str, steps: int) -> None:
        """Ignores the phase."""

    def step(self) -> None:
        """Ignores the step."""

    def status(self, text: str) -> None:
        """Ignores the status."""

    def waited(self, seconds: float) -> None:
        """Ignores the time."""

    def best(self, latency_ms: float) -> None:
        """Ignores the latency."""

    def note(self, text: str) -> None:
        """Ignores the note."""

    def episode(self, round_number: int, episode: Episode) -> None:
        """Ignores the episode."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Ignores the figure."""


class Several(Silent):
    """A listener that passes everything on to several listeners.

    Args:
        listeners: The listeners to tell, in order.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def phase(self, name: str, steps: int) -> None:
        """Passes the phase on."""
        for listener in self._listeners:
            listener.phase(name, steps)

    def step(self) -> None:
        """Passes the step on."""
        for listener in self._listeners:
            listener.step()

    def status(self, text: str) -> None:
        """Passes the status on."""
        for listener in self._listeners:
            listener.status(text)

    def waited(self, seconds: float) -> None:
        """Passes the time on."""
        for listener in self._listeners:
            listener.waited(seconds)

    def best(self, latency_ms: float) -> None:
        """Passes the latency on."""
        for listener in self._listeners:
            listener.best(latency_ms)

    def note(self, text: str) -> None:
        """Passes the note on."""
        for listener in self._listeners:
            listener.note(text)

    def episode(self, round_number: int, episode: Episode) -> None:
        """Passes the episode on."""
        for listener in self._listeners:
            listener.episode(round_number, episode)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Passes the figure on."""
        for listener in self._listeners:
            listener.scalar(tag, value, step)
