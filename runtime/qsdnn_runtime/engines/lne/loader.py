"""The loader of the engine ``lne``: tells the processor, and loads programs."""

from __future__ import annotations

from typing import Optional

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from .executable import FEW_BITS, LneExecutable
from .processor import narrow, target
from .program import read_program

VERSION = "1"
"""The version of the programs that this loader reads."""

LANES = {"x86-64-v4": 16, "x86-64-v3": 8}
"""The floats in a vector by target; 4 on all others."""


class LneLoader:
    """The board half of the engine ``lne``; see `qsdnn_runtime.engine.Loader`.

    Nothing has to be installed: the kernels come with each program, compiled for this processor.
    """

    name = "lne"

    def probe(self) -> Optional[EngineInfo]:
        """The processor, e.g. ``target:x86-64-v3``, its precisions, the layout of its blocks."""
        found = target()
        if found is None:
            return None
        layout = "layout:nchw%dc" % LANES.get(found, 4)
        words = ("FP32", *narrow(), "target:%s" % found, layout)
        return EngineInfo(self.name, VERSION, ("CPU",), words)

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> LneExecutable:
        """Loads a program.

        Raises:
            EngineError: The artifact is not a program for this processor.
        """
        if segment.family != "lne/%s" % target():
            raise EngineError("'%s' is no family of this processor" % segment.family)
        asked = {primitive.rpartition("/")[2] for primitive in segment.layers.values()}
        for precision in sorted(asked & set(FEW_BITS)):
            if precision.upper() not in narrow():
                raise EngineError("this processor does not compute in %s" % precision)
        alone = 1 if profile else threads
        return LneExecutable(read_program(segment.artifact), segment, alone, profile)
