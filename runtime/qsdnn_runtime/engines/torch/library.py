"""PyTorch as it is installed: its threads, its devices, and what the processor multiplies."""

from __future__ import annotations

from typing import Any, Tuple

from qsdnn_runtime.engine import installed
from qsdnn_runtime.engines.lne.processor import narrow

OLDEST = (2, 4)
"""The oldest version of PyTorch whose functions are all there."""

CUDA_FAMILY = "torch-cuda"
"""The family of segments on a GPU; all others are on the CPU."""


def import_library() -> Any:
    """The package torch.

    Raises:
        EngineError: PyTorch is not installed.
    """
    return installed("torch")


def is_old(library: Any) -> bool:
    """Whether a version of PyTorch lacks functions that are used here."""
    return version_of(library) < OLDEST


def version_of(library: Any) -> Tuple[int, int]:
    """The major and the minor version: (2, 13) for ``2.13.0+cpu``."""
    major, minor = str(library.__version__).split(".")[:2]
    return int(major), int(minor)


def device_of(family: str) -> str:
    """The device of a family, as PyTorch names it."""
    return "cuda" if family == CUDA_FAMILY else "cpu"


def set_threads(library: Any, threads: int) -> None:
    """Sets the number of threads, which is of the whole process and of the thread that calls.

    Other libraries that use OpenMP may change it, so that it is asked again before each run.
    """
    if library.get_num_threads() != threads:
        library.set_num_threads(threads)


def has_gpu(library: Any) -> bool:
    """Whether a GPU runs kernels here, by trial: a wheel may have none for an old or new one."""
    if not library.cuda.is_available():
        return False
    try:
        library.zeros(1, device="cuda").add_(1.0)
        library.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def capabilities(library: Any) -> Tuple[str, ...]:
    """The capabilities: ``ONEDNN``, ``BF16`` where the CPU multiplies it, and those of a GPU.

    ``cuda/fp32`` and its like are there where a GPU is; ``cuda/bf16`` from compute capability 8.0
    on.
    """
    words: Tuple[str, ...] = ("FP32",)
    if library.backends.mkldnn.is_available():
        words += ("ONEDNN",)
        if "BF16" in narrow():
            words += ("BF16",)
    if has_gpu(library):
        words += ("cuda/fp32", "cuda/fp16")
        if library.cuda.get_device_capability()[0] >= 8:
            words += ("cuda/bf16", "cuda/tf32")
    return words


def devices(library: Any) -> Tuple[str, ...]:
    """The devices: ``CPU``, and the name of the GPU where there is one."""
    if not has_gpu(library):
        return ("CPU",)
    return ("CPU", str(library.cuda.get_device_name()))
