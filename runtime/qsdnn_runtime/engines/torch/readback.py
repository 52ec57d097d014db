"""What layers executed, read from PyTorch: the functions that its profiler saw, and their outputs.

A primitive is told by what ran and not by what was asked for: the algorithm by the function that
computed a convolution, layout and precision by the tensors that the layer wrote.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Dict, Iterator, List, Sequence

import torch
from torch.autograd.profiler import record_function

from qsdnn_runtime.engine import Applied

from .domain import DTYPES, LAST, Tensor, algorithm_of

CONVOLUTIONS: Dict[str, str] = {
    "mkldnn_convolution": "onednn",
    "_convolution_pointwise": "onednn",
    "cudnn_convolution": "cudnn",
    "_conv_depthwise2d": "depthwise",
    "conv_depthwise3d": "depthwise",
    "_slow_conv2d_forward": "native",
    "slow_conv_dilated2d": "native",
    "slow_conv3d_forward": "native",
    "slow_conv_dilated3d": "native",
    "_convolution_depthwise3x3_winograd": "native",
    "_nnpack_spatial_convolution": "native",
}
"""The algorithm by the function of PyTorch that computes a convolution."""

PRODUCTS = ("addmm", "mm", "baddbmm", "bmm")
"""The functions that multiply matrices."""

_LAYER = "layer "
_STEPS = frozenset(
    (
        *("_local_scalar_dense", "_nnpack_available", "_reshape_alias", "_to_copy", "_unsafe_view"),
        *("alias", "as_strided", "as_strided_", "clone", "contiguous", "detach", "empty"),
        *("empty_like", "empty_strided", "expand", "fill_", "flatten", "item", "narrow", "permute"),
        *("reshape", "resize_", "resolve_conj", "resolve_neg", "result_type", "select", "slice"),
        *("squeeze", "t", "to", "transpose", "unsqueeze", "view", "zero_"),
    )
)
"""Functions that compute nothing."""


class Profiled:
    """The profiler around the layers of one run; on a GPU it records kernels too.

    Attributes:
        functions: The functions of each layer, by index, once the profiler has ended.
        kernels: The kernels of a GPU that these queued, by index.
    """

    def __init__(self) -> None:
        self._profiler = torch.profiler.profile(activities=torch.profiler.supported_activities())
        self.functions: Dict[int, List[str]] = {}
        self.kernels: Dict[int, List[str]] = {}

    def __enter__(self) -> "Profiled":
        self._profiler.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profiler.__exit__(*error)
        if error[0] is None:
            events = self._profiler.events()
            self.functions, self.kernels = functions_of(events), kernels_of(events)

    def layer(self, index: int) -> Any:
        """A context manager around one layer."""
        return record_function(_LAYER + str(index))


def functions_of(events: Sequence[Any]) -> Dict[int, List[str]]:
    """The functions that computed something, by layer, each once, in order.

    Args:
        events: The profiler's events: each has a name and the event that it happened in.
    """
    found: Dict[int, Dict[str, None]] = defaultdict(dict)
    callers = {id(event.cpu_parent) for event in events if _name(event) not in _STEPS | {"copy_"}}
    for event in events:
        name, parents = _name(event), list(_parents(event))
        layer = _index(parents[-1]) if parents else -1
        is_inner_copy = name == "copy_" and len(parents) > 1
        computes = name and name not in _STEPS and not is_inner_copy
        if layer >= 0 and computes and id(event) not in callers:
            found[layer][name] = None
    return {index: list(names) for index, names in found.items()}


def kernels_of(events: Sequence[Any]) -> Dict[int, List[str]]:
    """The kernels of a GPU that ran for each layer, each once, in order.

    Args:
        events: The profiler's events: each has the kernels that it queued.
    """
    found: Dict[int, Dict[str, None]] = defaultdict(dict)
    for event in events:
        parents = list(_parents(event))
        layer = _index(parents[-1]) if parents else -1
        if layer >= 0:
            found[layer].update((str(kernel.name), None) for kernel in event.kernels)
    return {index: list(names) for index, names in found.items()}


def _parents(event: Any) -> Iterator[Any]:
    while event.cpu_parent is not None:
        event = event.cpu_parent
        yield event


def _name(event: Any) -> str:
    """The name of a function of PyTorch; empty for any other event."""
    space, _, name = str(event.name).partition("::")
    return name if space in ("aten", "mkldnn") else ""


def _index(event: Any) -> int:
    name = str(event.name)
    return int(name[len(_LAYER) :]) if name.startswith(_LAYER) else -1


def applied(
    word: str, has_choice: bool, functions: Sequence[str], written: Sequence[Tensor]
) -> Applied:
    """What a layer executed, with the functions for kernels.

    Args:
        word: The algorithm asked for, as the program has it.
        has_choice: Whether the layer is a convolution.
        functions: The functions of PyTorch that computed something.
        written: The tensors that the layer's kernels wrote.
    """
    algorithm = algorithm_of(word)
    if has_choice:
        algorithm = _algorithm(functions, algorithm)
    floats = [tensor for tensor in written if tensor.is_floating_point()]
    last = LAST if _is_last(floats, LAST in word) else ""
    names = {dtype: name for name, dtype in reversed(list(DTYPES.items()))}
    precision = names[floats[0].dtype] if floats else "fp32"
    asked = word.partition("/")[2]
    if DTYPES.get(asked) is DTYPES[precision]:
        precision = asked
    kernel = ", ".join(functions) or "view"
    return Applied(primitive="torch/%s%s/%s" % (algorithm, last, precision), kernel=kernel)


def _algorithm(functions: Sequence[str], asked: str) -> str:
    """The algorithm by what ran; the word ``unknown`` where nothing that is known did."""
    known = [CONVOLUTIONS[name] for name in functions if name in CONVOLUTIONS]
    if known:
        return known[0]
    if any(name in PRODUCTS for name in functions):
        return asked if asked in ("gemm", "cublas") else "gemm"
    return "unknown"


def _is_last(written: Sequence[Tensor], asked: bool) -> bool:
    """Whether images were written channels-last; as asked where an image is the same both ways."""
    told = set()
    for image in (tensor for tensor in written if tensor.ndim == 4):
        is_last = image.is_contiguous(memory_format=torch.channels_last)
        if is_last != image.is_contiguous():
            told.add(is_last)
    return all(told) if told else asked
