"""What onnxruntime has against a model."""

from __future__ import annotations

import re
from typing import Any, Union

from .providers import CPU

# The code, the file the model came from, and where in onnxruntime's sources it was noticed.
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|Load model from .*? failed:"
    r"|\S*onnxruntime_src/\S+ .*?\) "
)
_SILENT = 4  # ORT_LOGGING_LEVEL_FATAL


def refusal(library: Any, model: Union[bytes, str]) -> str:
    """Why onnxruntime does not take a model, in its own words; empty where it does.

    Args:
        library: onnxruntime.
        model: Its bytes, which are not optimized: that takes time. Or its file.
    """
    options = library.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    if isinstance(model, bytes):
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        library.InferenceSession(model, options, providers=[CPU])
    except Exception as error:
        return reason(error)
    return ""


def reason(error: Exception) -> str:
    """What an error of onnxruntime's says, in one line, without paths and code."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _NOISE.sub("", line) or line
