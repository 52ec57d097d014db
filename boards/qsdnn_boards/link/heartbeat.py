"""A heartbeat: tells an agent that its host lives, whatever the host is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class Heartbeat:
    """Beats in the background, from when it is started until it is stopped.

    Args:
        beat: Called again and again; when it raises OSError nobody is there to hear it.
        every_s: How often.
    """

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat = beat
        self._every_s = every_s
        self._over = threading.Event()

    def start(self) -> None:
        """The first beat comes after the first pause."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """No beat begins from here on."""
        self._over.set()

    def _run(self) -> None:
        with suppress(OSError):
            while not self._over.wait(self._every_s):
                self._beat()
