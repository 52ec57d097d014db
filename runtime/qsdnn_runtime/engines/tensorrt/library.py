"""TensorRT as it is installed: its version, what its log says, and whether it starts here.

Not run on hardware yet: written to the documentation of TensorRT 10 and 11.
"""

from __future__ import annotations

from typing import Any, List, Tuple

from qsdnn_runtime.engine import EngineError, installed

from .cuda import Cuda

OLDEST = 10
"""The oldest major version whose functions are all there."""

OPSET = "opset:20"
"""The operators that the parser of the oldest version knows, see `qsdnn.model.opset`."""

# The first GPUs with bfloat16 and TF32 in their tensor cores, by compute capability: Ampere.
_AMPERE = 8


def import_library() -> Any:
    """The package tensorrt.

    Raises:
        EngineError: TensorRT is not installed, lacks libraries of its own, or is too old.
    """
    try:
        library = installed("tensorrt")
    except OSError as error:  # a library that the package loads by name
        raise EngineError("tensorrt does not start here: %s" % error) from error
    version = str(library.__version__)
    if int(version.partition(".")[0]) < OLDEST:
        raise EngineError("tensorrt %s is older than %d" % (version, OLDEST))
    return library


def make_log(library: Any) -> Any:
    """A log for TensorRT's objects that keeps errors: its ``errors`` are texts, the oldest first.

    TensorRT's functions return nothing where they fail, and tell why in the log only.
    """

    class Log(library.ILogger):  # type: ignore[misc]  # known only once TensorRT is imported
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: List[str] = []

        def log(self, severity: Any, text: str) -> None:
            levels = library.ILogger.Severity
            if severity in (levels.ERROR, levels.INTERNAL_ERROR):
                self.errors.append(" ".join(text.split()))

    return Log()


def failure(what: str, log: Any) -> EngineError:
    """An error that says what failed, and why as far as the log tells."""
    told = log.errors[-1][:400] if log.errors else "TensorRT does not say why"
    return EngineError("%s: %s" % (what, told))


def starts(library: Any) -> bool:
    """Whether a builder can be made, by trial: a driver may be missing, or too old."""
    try:
        return library.Builder(make_log(library)) is not None
    except Exception:  # bindings raise what they like where a constructor gives nothing
        return False


def capabilities(cuda: Cuda) -> Tuple[str, ...]:
    """The precisions of a GPU, and the operators of the parser.

    Every GPU that TensorRT 10 supports computes in float16.
    """
    words: Tuple[str, ...] = ("FP32", "FP16")
    if cuda.compute_capability()[0] >= _AMPERE:
        words += ("TF32", "BF16")
    return (*words, OPSET)
