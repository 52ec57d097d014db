"""onnxruntime's other execution providers: the parts of the machine a session computes on.

Each provider is a family of its own, ``onnxruntime/<provider>/<precision>``; layers that a provider
does not take fall back to the CPU, and are reported so. Not run on hardware yet: only a CPU was at
hand.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple, Union

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


def capabilities(available: Sequence[str]) -> Tuple[str, ...]:
    """The capabilities of the available providers: ``ep:<provider>/<precision>``.

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
