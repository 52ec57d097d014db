"""A heartbeat: tells a measuring server that its host lives, whatever the host is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class Heartbeat:
    """Beats in the background, from when it is started until it is stopped.

    Args:
        beat: The function to call again and again; an OSError from it ends the heartbeat.
        every_s: The pause before each beat.
    """

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._over = threading.Event()

    def start(self) -> None:
        """Starts the heartbeat; the first beat comes after the first pause."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Stops the heartbeat: no beat begins after this call."""
        self._over.set()

    def _run(self) -> None:
        with suppress(OSError):
            while not self._over.wait(self._every_s):
                self._beat()
