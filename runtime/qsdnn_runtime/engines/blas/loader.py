"""The loader of the engine ``blas``: probes what is installed, and loads programs."""

from __future__ import annotations

from typing import Optional

import numpy as np

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from . import openblas
from .executable import BlasExecutable
from .program import read_program


class BlasLoader:
    """The board half of the engine ``blas``; see `qsdnn_runtime.engine.Loader`."""

    name = "blas"

    def probe(self) -> Optional[EngineInfo]:
        """The versions of numpy and its BLAS; a capability names the core the BLAS is tuned for."""
        core = openblas.core()
        return EngineInfo(
            name=self.name,
            version="numpy-%s+%s" % (np.__version__, openblas.version()),
            devices=("CPU",),
            capabilities=("FP32", core) if core else ("FP32",),
        )

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> BlasExecutable:
        """Loads a program; `threads` applies to the whole process, as OpenBLAS knows no other way.

        Raises:
            EngineError: The artifact is not a program, or needs more memory than there is.
        """
        openblas.set_threads(threads)
        try:
            return BlasExecutable(read_program(segment.artifact), profile)
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
            message = "%s cannot be loaded: %r" % (segment.artifact, error)
            raise EngineError(message) from error
