"""The last lines of a stream that must be drained: the standard error of another process."""

from __future__ import annotations

import threading
from typing import BinaryIO

KEPT_BYTES = 8192
LINES = 8


class Tail:
    """Reads a stream to its end in the background, and keeps the last bytes.

    Args:
        stream: The stream; closed when it ends.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = b""
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def text(self, wait_s: float = 0.0) -> str:
        """The last lines of the stream so far.

        Args:
            wait_s: How long to wait for the stream's end first.
        """
        self._thread.join(wait_s)
        lines = self._kept.decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-LINES:])

    def _drain(self) -> None:
        with self._stream:
            for piece in iter(lambda: self._stream.read1(4096), b""):  # type: ignore[attr-defined]
                self._kept = (self._kept + piece)[-KEPT_BYTES:]
