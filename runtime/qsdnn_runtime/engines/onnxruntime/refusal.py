"""The reasons why onnxruntime refuses a model."""

from __future__ import annotations

import re
from typing import Any, Union

from .providers import CPU

# The error code, the model's file, and the place in onnxruntime's sources that raised the error.
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|Load model from .*? failed:"
    r"|\S*onnxruntime_src/\S+ .*?\) "
)
_SILENT = 4  # ORT_LOGGING_LEVEL_FATAL


def refusal(library: Any, model: Union[bytes, str]) -> str:
    """Why onnxruntime refuses a model, in onnxruntime's words; empty where it takes the model.

    Args:
        library: The package onnxruntime.
        model: The model's bytes, which are not optimized, as that takes time; or the model's file.
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
    """The text of an onnxruntime error, in one line, without paths and code."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _NOISE.sub("", line) or line
