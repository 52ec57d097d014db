"""Reductions: over windows, which is pooling, and over dimensions."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import torch

from qsdnn_runtime.engines.blas.kernel import Op
from qsdnn_runtime.engines.blas.reduction import Pool as Counted
from qsdnn_runtime.engines.blas.window import window_of

from .domain import Domain, Tensor
from .kernel import Function, Kernel, Made
from .window import Border

REDUCTIONS: Dict[str, Function] = {
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceSum": torch.sum,
}


class Pool(Made):
    """A pool over windows (ONNX MaxPool 12, AveragePool 19).

    A pool of one dimension is one of two dimensions, whose images are one element high. An average
    is the sum of a window, times the reciprocal of the elements that count.
    """

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        window = window_of(op, op.ints("kernel"))
        self.is_max = op.kind == "MaxPool"
        half = tuple(taps // 2 for taps in window.kernel)  # the most padding that PyTorch takes
        fill = float("-inf") if self.is_max else 0.0
        self.border = Border(op, domain, window, fill, half)
        self.is_line = len(window.kernel) == 1
        lift = (1,) if self.is_line else ()
        self.kernel, self.strides, self.dilations = (
            [*lift, *field] for field in (window.kernel, window.strides, window.dilations)
        )
        self.pads = [*(0 for _ in lift), *self.border.pads]
        scale = Counted(op).scale
        self.scale: Any = None if scale is None else domain.constant(scale)
        self.weights: Any = None
        self.channels = op.inputs[0].shape[1]
        if not self.is_max and max(self.dilations) > 1:  # no average of PyTorch's has dilations
            self.weights = domain.room((self.channels, 1, *self.kernel), 1.0)

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        x = self.border.around(inputs[0])
        y = self._pooled(x.unsqueeze(2) if self.is_line else x)
        if self.scale is not None:
            y = y.squeeze(2) if self.is_line else y
            return y.mul_(self.scale)
        return y.squeeze(2) if self.is_line else y

    def _pooled(self, x: Tensor) -> Tensor:
        flat = len(self.kernel) == 2
        if self.is_max:
            pool = torch.max_pool2d if flat else torch.max_pool3d
            return pool(x, self.kernel, self.strides, self.pads, self.dilations)
        if self.weights is not None:
            places = (self.strides, self.pads, self.dilations)
            added = [0] * len(self.pads)
            return torch.convolution(x, self.weights, None, *places, False, added, self.channels)
        average = torch._C._nn.avg_pool2d if flat else torch._C._nn.avg_pool3d
        return average(x, self.kernel, self.strides, self.pads, False, True, 1)


class Reduce(Kernel):
    """One reduction over some dimensions, as global pooling does (ONNX ReduceMean 18, …)."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        self.axes, self.function = op.ints("axes"), REDUCTIONS[op.kind]
        shape = op.inputs[0].shape
        self.kept = tuple(1 if axis in self.axes else n for axis, n in enumerate(shape))

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        y = out if out.shape == self.kept else out.view(self.kept)
        self.function(inputs[0], self.axes, True, out=y)
