"""onnxruntime as it is installed: its providers, the ONNX that it reads, why it refuses a model."""

from __future__ import annotations

import base64
import ctypes
import os
import re
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

from qsdnn_runtime.engine import installed

CPU = "CPUExecutionProvider"
HERE = "cpu"
"""The device of providers that compute in the caller's memory."""

_DEVICES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
_GRAPHS = {
    "CUDAExecutionProvider": "enable_cuda_graph",
    "TensorrtExecutionProvider": "trt_cuda_graph_enable",
}
"""The options by which a provider records its kernels in the first runs, and replays them later."""

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


def import_library() -> Any:
    """The package onnxruntime.

    Raises:
        EngineError: onnxruntime is not installed.
    """
    return installed("onnxruntime")


def providers_of(family: str, threads: int, *, graph: bool = False) -> List[Provider]:
    """The providers of a session, in order of preference.

    Args:
        family: The family of primitives; ``onnxruntime`` is the CPU alone.
        threads: The number of threads, for providers that have threads of their own.
        graph: Whether kernels are to be recorded and replayed, by providers that can: the first
            provider must then take all of the network, and shapes and addresses be fixed.
    """
    word = family.partition("/")[2]
    if word not in _PROVIDERS:
        return [CPU]
    name, options = _PROVIDERS[word]
    found = {key: value.format(threads=threads) for key, value in options.items()}
    if graph and name in _GRAPHS:
        found[_GRAPHS[name]] = "1"
    return [(name, found), CPU]


def starts(library: Any, provider: str) -> bool:
    """Whether a provider runs here: a package lists some whose libraries are missing.

    Args:
        library: The package onnxruntime.
        provider: The provider, by onnxruntime's name.
    """
    options = library.SessionOptions()
    options.log_severity_level = _SILENT
    try:
        session = library.InferenceSession(_RELU, options, providers=[provider])
    except Exception:
        return False
    return provider in session.get_providers()


def missing(library: Any, provider: str) -> str:
    """The reason why a provider does not start, as far as its library can tell.

    Args:
        library: The package onnxruntime.
        provider: The provider, by onnxruntime's name.
    """
    folder = os.path.join(os.path.dirname(library.__file__), "capi")
    words = (provider[: -len("ExecutionProvider")].lower(), "shared")
    own, shared = (os.path.join(folder, "libonnxruntime_providers_%s.so" % word) for word in words)
    if not os.path.exists(own):
        return "its library is not installed"
    try:
        ctypes.CDLL(shared, ctypes.RTLD_GLOBAL)
        ctypes.CDLL(own)
    except OSError as error:
        name, found, _ = str(error).partition(": cannot open shared object file")
        return "%s is missing" % name if found else str(error).replace(folder + os.sep, "")
    return "no device for it, or no driver"


def device_of(provider: Provider) -> str:
    """The device whose memory a provider computes in, in onnxruntime's words."""
    return _DEVICES.get(name_of(provider), HERE)


def records(provider: Provider) -> bool:
    """Whether a provider can record its kernels as a graph."""
    return name_of(provider) in _GRAPHS


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
