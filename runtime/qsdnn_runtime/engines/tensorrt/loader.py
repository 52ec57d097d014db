"""The loader of the engine ``tensorrt``: an engine kept from before, or one built now.

Not run on hardware yet: written to the documentation, as no GPU was at hand.
"""

from __future__ import annotations

from typing import Any, Optional

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from . import library
from .builder import build
from .cache import BuildCache, cache_folder
from .cuda import Cuda, find_cuda
from .executable import ProfiledExecutable, TensorrtExecutable

FAMILIES = ("tensorrt", "tensorrt-tf32")
"""The families, without and with TF32; both on the first GPU."""


class TensorrtLoader:
    """The board half of the engine ``tensorrt``; see `qsdnn_runtime.engine.Loader`."""

    name = "tensorrt"

    def probe(self) -> Optional[EngineInfo]:
        """The version, the GPU and its precisions; None where TensorRT or the GPU is missing."""
        try:
            tensorrt = library.import_library()
            cuda = find_cuda()
            if cuda is None or not library.starts(tensorrt):
                return None
            told = library.capabilities(cuda)
            return EngineInfo(self.name, str(tensorrt.__version__), (cuda.name(),), told)
        except EngineError:
            return None

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> TensorrtExecutable:
        """Loads an ONNX file; the engine built of it is kept, and found again the next time.

        Args:
            segment: The segment.
            threads: Without effect: the GPU computes.
            profile: Whether to time each layer.

        Raises:
            EngineError: TensorRT or the GPU is missing, or TensorRT refuses the file.
        """
        if segment.family not in FAMILIES:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        tensorrt, cuda = library.import_library(), find_cuda()
        if cuda is None:
            raise EngineError("there is no GPU here that CUDA's runtime can use")
        log = library.make_log(tensorrt)
        runtime = tensorrt.Runtime(log)
        engine = _engine(tensorrt, log, cuda, runtime, segment)
        kind = ProfiledExecutable if profile else TensorrtExecutable
        return kind(tensorrt, log, cuda, (runtime, engine), segment)


def _engine(tensorrt: Any, log: Any, cuda: Cuda, runtime: Any, segment: SegmentSpec) -> Any:
    """The engine of a segment. One that was kept and cannot be read is built anew."""
    machine = (cuda.name(), *cuda.compute_capability(), tensorrt.__version__)
    cache = BuildCache(cache_folder(), repr(machine))
    file = cache.engine(segment.artifact, segment.family)
    kept = cache.read(file)
    engine = None if kept is None else runtime.deserialize_cuda_engine(kept)
    if engine is None:
        allow_tf32 = segment.family == FAMILIES[1]
        plan = build(tensorrt, log, cuda, cache, segment.artifact, allow_tf32)
        cache.write(file, plan)
        engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise library.failure("the engine that was built cannot be read", log)
    return engine
