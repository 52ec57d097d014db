"""onnxruntime as it is installed: its providers, the ONNX that it reads, why it refuses a model."""

from __future__ import annotations

import base64
import re
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

CPU = "CPUExecutionProvider"
Provider = Union[str, Tuple[str, Dict[str, str]]]

# Provider and options by word and precision. By default CUDA computes in TF32 and OpenVINO in BF16.
# Core ML keeps to the types of an ML program, and may compute a neural network in half precision.
_PROVIDERS: Dict[str, Tuple[str, Dict[str, str]]] = {
    "cuda/fp32": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "tensorrt/fp32": ("TensorrtExecutionProvider", {"trt_fp16_enable": "0"}),
    "tensorrt/fp16": ("TensorrtExecutionProvider", {"trt_fp16_enable": "1"}),
    "xnnpack/fp32": ("XnnpackExecutionProvider", {"intra_op_num_threads": "{threads}"}),
    "acl/fp32": ("ACLExecutionProvider", {}),
    "openvino/fp32": ("OpenVINOExecutionProvider", {"device_type": "CPU", "precision": "FP32"}),
    "coreml/fp32": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
    "coreml/fp16": ("CoreMLExecutionProvider", {"ModelFormat": "NeuralNetwork"}),
}
# y = Relu(x), IR version 8, operator set 17. Relu's kernel is the same since operator set 14.
_RELU = base64.b64decode(
    "CAg6MwoMCgF4EgF5IgRSZWx1EgFnWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQEQ=="
)
_IR, _OPSET = 1, -1  # the places of the two versions in the bytes
# The first pair is read by any onnxruntime for Python 3.8; a byte holds no more than the second.
_OLDEST, _END = (7, 14), 128
# The error code, the model's file, and the place in onnxruntime's sources that raised the error.
_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|Load model from .*? failed:"
    r"|\S*onnxruntime_src/\S+ .*?\) "
)
_SILENT = 4  # ORT_LOGGING_LEVEL_FATAL


def capabilities(available: Sequence[str]) -> Tuple[str, ...]:
    """The capabilities of the available providers: ``ep:<provider>/<precision>``.

    Each provider is a family of its own, ``onnxruntime/<provider>/<precision>``; layers that a
    provider does not take fall back to the CPU, and are reported so. Not run on hardware yet: only
    a CPU was at hand.

    Args:
        available: The providers, by onnxruntime's names.
    """
    return tuple("ep:" + word for word, (name, _) in _PROVIDERS.items() if name in available)


def providers_of(family: str, threads: int) -> List[Provider]:
    """The providers of a session, in order of preference.

    Args:
        family: The family of primitives; ``onnxruntime`` is the CPU alone.
        threads: The number of threads, for providers that have threads of their own.
    """
    word = family.partition("/")[2]
    if word not in _PROVIDERS:
        return [CPU]
    name, options = _PROVIDERS[word]
    return [(name, {k: v.format(threads=threads) for k, v in options.items()}), CPU]


def name_of(provider: Any) -> str:
    """The name of a provider, without its options."""
    return str(provider if isinstance(provider, str) else provider[0])


def versions(library: Any, options: Any) -> Tuple[str, ...]:
    """The newest versions that onnxruntime reads, as ``ir:10`` and ``opset:21``.

    Args:
        library: The package onnxruntime.
        options: The options for its sessions.
    """

    def reads(place: int) -> Callable[[int], bool]:
        def tried(version: int) -> bool:
            model = bytearray(_RELU)
            model[place] = version
            try:
                library.InferenceSession(bytes(model), options, providers=[CPU])
            except Exception:
                return False
            return True

        return tried

    ir_version = _last(reads(_IR), _OLDEST[0], _END)
    return ("ir:%d" % ir_version, "opset:%d" % _last(reads(_OPSET), _OLDEST[1], _END))


def _last(holds: Callable[[int], bool], first: int, end: int) -> int:
    """The last number before `end` for which `holds` is true; it is true from `first` up to it."""
    while end - first > 1:
        middle = (first + end) // 2
        first, end = (middle, end) if holds(middle) else (first, middle)
    return first


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
