"""One stream of a GPU: copies in order, and calls recorded once as a graph.

Not run on hardware yet: written to the documentation of PyTorch, as only a CPU was at hand.
"""

from __future__ import annotations

from typing import Any, Callable, List, Sequence, Tuple

import torch

from .domain import Tensor

WARM_UP = 3
"""The runs before calls are recorded, in which libraries choose algorithms and take memory: as many
as PyTorch's own documentation of CUDA graphs has."""

Pair = Tuple[Tensor, Tensor]
"""A tensor of the caller's side, page-locked; and its tensor on the device."""


class Gpu:
    """A stream, on which everything of one segment happens.

    Args:
        cuda: The module `torch.cuda`, or what stands for it.
        device: The device of the tensors, as PyTorch names it.
    """

    def __init__(self, cuda: Any = torch.cuda, device: str = "cuda") -> None:
        self._cuda = cuda
        self.device = device
        self._stream = cuda.Stream()

    def pair(self, shape: Sequence[int], dtype: Any) -> Pair:
        """A page-locked tensor, and one on the device, both of zeros."""
        there = torch.zeros(tuple(shape), dtype=dtype, device=self.device)
        here = torch.zeros(tuple(shape), dtype=dtype, pin_memory=there.is_cuda)
        return here, there

    def record(self, run: Callable[[], None]) -> Any:
        """Records a function's kernels as a graph, after some runs to warm up.

        Args:
            run: The function; the tensors that it reads and writes keep their addresses.
        """
        self.settle(run, WARM_UP)
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(graph, stream=self._stream):
            run()
        return graph

    def settle(self, run: Callable[[], None], times: int = 1) -> None:
        """Runs a function on the stream, and waits for it."""
        self._stream.wait_stream(self._cuda.current_stream())
        with self._cuda.stream(self._stream):
            for _ in range(times):
                run()
        self._stream.synchronize()

    def exchange(
        self, inputs: Sequence[Pair], run: Callable[[], None], outputs: Sequence[Pair]
    ) -> None:
        """Copies inputs to the device, runs, copies outputs back, and waits for all of it."""
        with self._cuda.stream(self._stream):
            for here, there in inputs:
                there.copy_(here, non_blocking=True)
            run()
            for here, there in outputs:
                here.copy_(there, non_blocking=True)
        self._stream.synchronize()

    def stamp(self) -> Any:
        """An event on the stream, whose time can be asked for once the stream is through."""
        event = self._cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event


def between(stamps: List[Any]) -> List[float]:
    """The milliseconds between each event and the next."""
    following = iter(stamps[1:])
    return [float(stamp.elapsed_time(after)) for stamp, after in zip(stamps, following)]


def allow_tf32(allowed: bool, backends: Any = torch.backends) -> None:
    """Says whether float32 may compute in TF32, in the words of PyTorch's version.

    Products and convolutions have a switch each; mixing old words and new is an error.

    Args:
        allowed: Whether it may.
        backends: The module `torch.backends`, or what stands for it.
    """
    if hasattr(backends.cuda.matmul, "fp32_precision"):  # from PyTorch 2.9 on
        for switch in (backends.cuda.matmul, backends.cudnn.conv):
            switch.fp32_precision = "tf32" if allowed else "ieee"
    else:
        for switch in (backends.cuda.matmul, backends.cudnn):
            switch.allow_tf32 = allowed
