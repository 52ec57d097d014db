"""Where a child is: memory it shares with the agent, which reads it even after a crash.

A message a run would wake the agent in the middle of a measurement; a write to memory does not.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import time
from dataclasses import dataclass
from typing import BinaryIO

from ..protocol import Step

STEPS = tuple(Step)
LAYOUT = struct.Struct("<iid")
NOBODY = -1


@dataclass(frozen=True)
class Position:
    """Where a child is.

    Attributes:
        step: What it does.
        index: The package or engine it is with; `NOBODY` between them.
        since_s: When it got there, on the monotonic clock that all processes share.
    """

    step: Step
    index: int
    since_s: float


class Beacon:
    """A child's position in shared memory.

    Args:
        file_descriptor: A file of `LAYOUT` size, inherited by the child.
    """

    def __init__(self, file_descriptor: int) -> None:
        self._memory = mmap.mmap(file_descriptor, LAYOUT.size)

    def mark(self, step: Step, index: int = NOBODY) -> None:
        """Says that a step begins."""
        LAYOUT.pack_into(self._memory, 0, STEPS.index(step), index, time.monotonic())

    def read(self) -> Position:
        """The step that was begun last."""
        step, index, since_s = LAYOUT.unpack_from(self._memory, 0)
        return Position(STEPS[step], index, since_s)

    def close(self) -> None:
        """Unmaps it."""
        self._memory.close()


def beacon_file() -> BinaryIO:
    """A new anonymous file for a beacon, already marked as starting."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    # Allocated: where a disk is full, that is an error, and writing to a hole of it SIGBUS.
    os.posix_fallocate(file.fileno(), 0, LAYOUT.size)
    beacon = Beacon(file.fileno())
    beacon.mark(Step.START)
    beacon.close()
    return file
