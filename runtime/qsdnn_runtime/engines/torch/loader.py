"""The loader of the engine ``torch``: probes PyTorch, and loads programs on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from . import library

if TYPE_CHECKING:
    from .executable import TorchExecutable


class TorchLoader:
    """The board half of the engine ``torch``; see `qsdnn_runtime.engine.Loader`."""

    name = "torch"

    def probe(self) -> Optional[EngineInfo]:
        """The version, the devices and their precisions; None for a version that is too old."""
        try:
            torch = library.import_library()
        except EngineError:
            return None
        if library.is_old(torch):
            return None
        return EngineInfo(
            name=self.name,
            version=str(torch.__version__),
            devices=library.devices(torch),
            capabilities=library.capabilities(torch),
        )

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> TorchExecutable:
        """Loads a program; `threads` applies to the whole process, as OpenMP has it.

        Raises:
            EngineError: PyTorch is not installed, the artifact is not a program, or there is no
                such device or not enough memory.
        """
        torch = library.import_library()
        if library.is_old(torch):
            raise EngineError("torch %s is older than %d.%d" % (torch.__version__, *library.OLDEST))
        library.set_threads(torch, threads)
        # PyTorch takes seconds to import: only now
        from qsdnn_runtime.engines.blas.program import read_program

        from .executable import TorchExecutable, reason

        kind = TorchExecutable
        if library.device_of(segment.family) == "cuda":
            if not library.has_gpu(torch):
                raise EngineError("there is no GPU here that PyTorch can use")
            from .cuda import CudaExecutable

            kind = CudaExecutable
        try:
            return kind(read_program(segment.artifact), threads, profile)
        except (ValueError, TypeError, IndexError, RuntimeError, MemoryError) as error:
            message = "%s cannot be loaded: %s" % (segment.artifact, reason(error))
            raise EngineError(message) from error
