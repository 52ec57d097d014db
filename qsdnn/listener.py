"""Who wants to know how a search goes: the terminal, TensorBoard, a program."""

from __future__ import annotations

from typing import Protocol

from qsdnn.agents.base import Episode


class Listener(Protocol):
    """Told of everything as it happens; must not raise."""

    def phase(self, name: str, steps: int) -> None:
        """A phase begins; it will take about so many steps."""

    def step(self) -> None:
        """One step of the phase is done."""

    def status(self, text: str) -> None:
        """What is being done right now, e.g. on the board."""

    def best(self, latency_ms: float) -> None:
        """The least latency that was measured so far."""

    def note(self, text: str) -> None:
        """Something a person should read, e.g. a layer pinned to one engine."""

    def episode(self, round_number: int, episode: Episode) -> None:
        """The agent finished an episode."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A figure with a name, e.g. a measured latency."""


class Silent:
    """Hears everything, says nothing."""

    def phase(self, name: str, steps: int) -> None:
        """Ignored."""

    def step(self) -> None:
        """Ignored."""

    def status(self, text: str) -> None:
        """Ignored."""

    def best(self, latency_ms: float) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""

    def episode(self, round_number: int, episode: Episode) -> None:
        """Ignored."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Ignored."""


class Several(Silent):
    """Passes everything on to several listeners.

    Args:
        listeners: Whom to tell, in order.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def phase(self, name: str, steps: int) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.phase(name, steps)

    def step(self) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.step()

    def status(self, text: str) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.status(text)

    def best(self, latency_ms: float) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.best(latency_ms)

    def note(self, text: str) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.note(text)

    def episode(self, round_number: int, episode: Episode) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.episode(round_number, episode)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Passed on."""
        for listener in self._listeners:
            listener.scalar(tag, value, step)
