"""What is known of a process after a crash: its position in its work, and its last words."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO, Dict, Optional, Tuple

from qsdnn_runtime.protocol import Step

STEPS = tuple(Step)
LAYOUT = struct.Struct("<iid")
NOBODY = -1
KEPT_BYTES = 8192
LINES = 8


@dataclass(frozen=True)
class Position:
    """The position of a child in its work.

    Attributes:
        step: The step that the child is in.
        index: The number of the package or engine that the step is of; `NOBODY` between them.
        since_s: The time when the step began, on the monotonic clock that all processes share.
    """

    step: Step
    index: int
    since_s: float


class Beacon:
    """A child's position, in memory shared with the measuring server, which reads it after a crash.

    A message for each run would wake the measuring server in the midst of a measurement; a write to
    memory does not.

    Args:
        file_descriptor: The descriptor of a file of `LAYOUT` size, which the child inherits.
    """

    def __init__(self, file_descriptor: int) -> None:
        self._memory = mmap.mmap(file_descriptor, LAYOUT.size)
        self._spent_s: Dict[Step, float] = {}
        self._latest: Optional[Tuple[Step, float]] = None

    def mark(self, step: Step, index: int = NOBODY) -> None:
        """Writes down that a step begins."""
        now_s = time.monotonic()
        LAYOUT.pack_into(self._memory, 0, STEPS.index(step), index, now_s)
        if self._latest is not None:
            last, since_s = self._latest
            self._spent_s[last] = self._spent_s.get(last, 0.0) + now_s - since_s
        self._latest = step, now_s

    def spent_s(self) -> Dict[str, float]:
        """The time in seconds that each step took, of those that this object has marked."""
        if self._latest is not None:
            self.mark(self._latest[0], self.read().index)
        return {step.value: seconds for step, seconds in self._spent_s.items()}

    def read(self) -> Position:
        """The position that was written last."""
        step, index, since_s = LAYOUT.unpack_from(self._memory, 0)
        return Position(STEPS[step], index, since_s)

    def close(self) -> None:
        """Unmaps the shared memory."""
        self._memory.close()


def beacon_file() -> BinaryIO:
    """A new anonymous file for a beacon, already marked as starting."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    # Allocated now: on a full disk that is an error here, and not a SIGBUS at the first write.
    os.posix_fallocate(file.fileno(), 0, LAYOUT.size)
    beacon = Beacon(file.fileno())
    beacon.mark(Step.START)
    beacon.close()
    return file


class Tail:
    """Reads a stream, such as a standard error, to its end in the background; keeps the last bytes.

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
