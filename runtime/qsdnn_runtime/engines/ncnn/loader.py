"""The loader of the engine ``ncnn``: probes what is installed, and loads networks."""

from __future__ import annotations

from typing import Optional, Tuple

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from .artifact import read_network
from .executable import NcnnExecutable, ProfiledExecutable
from .integer import has_integers
from .net import import_library
from .packing import block_channels

FAMILY = "ncnn"


class NcnnLoader:
    """Loads networks of the family ``ncnn``."""

    name = "ncnn"

    def probe(self) -> Optional[EngineInfo]:
        """The version, whether ncnn computes in integers, and the packed blobs it can be handed.

        The blobs are given as ``layout:nchw16c``, with the number of channels that ncnn packs here.
        """
        try:
            library = import_library()
        except EngineError:
            return None
        words: Tuple[str, ...] = ("FP32", "INT8") if has_integers() else ("FP32",)
        block = block_channels()
        if block > 1:
            words += ("layout:nchw%dc" % block,)
        return EngineInfo(self.name, str(library.__version__), ("CPU",), words)

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
