"""What is installed, and how a network is loaded."""

from __future__ import annotations

from typing import Optional

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from .artifact import read_network
from .executable import NcnnExecutable, ProfiledExecutable
from .integer import has_integers
from .net import import_library

FAMILY = "ncnn"


class NcnnLoader:
    """Loads networks of the family ``ncnn``."""

    name = "ncnn"

    def probe(self) -> Optional[EngineInfo]:
        """The version, and whether it computes in integers."""
        try:
            library = import_library()
        except EngineError:
            return None
        precisions = ("FP32", "INT8") if has_integers() else ("FP32",)
        return EngineInfo(self.name, str(library.__version__), ("CPU",), precisions)

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> "NcnnExecutable":
        """Loads a network.

        Raises:
            EngineError: ncnn is not installed, or refuses the network.
        """
        import_library()
        if segment.family != FAMILY:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        network = read_network(segment.artifact)
        kind = ProfiledExecutable if profile else NcnnExecutable
        return kind(network, segment, threads)
