"""A child's position, in memory shared with the measuring server, which reads it after a crash.

A message for each run would wake the measuring server in the midst of a measurement; a write to
memory does not.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass
from typing import BinaryIO

from qsdnn_runtime.protocol import Step

STEPS = tuple(Step)
LAYOUT = struct.Struct("<iid")
NOBODY = -1


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
    """A child's position in shared memory.

    Args:
        file_descriptor: The descriptor of a file of `LAYOUT` size, which the child inherits.
    """

    def __init__(self, file_descriptor: int) -> None:
        self._memory = mmap.mmap(file_descriptor, LAYOUT.size)

    def mark(self, step: Step, index: int = NOBODY) -> None:
        """Writes down that a step begins."""
        LAYOUT.pack_into(self._memory, 0, STEPS.index(step), index, time.monotonic())

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
