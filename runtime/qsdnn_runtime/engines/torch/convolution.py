"""Convolutions by the libraries that PyTorch calls, and by its own kernels (ONNX Conv 11)."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

import torch

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.convolution import convolution_of
from qsdnn_runtime.engines.blas.kernel import Op

from .domain import Domain, Tensor
from .elementwise import Unary
from .kernel import Kernel, Made
from .window import Border

AFTER = "after"
"""The attribute of a Conv that holds the activation behind it, which the Conv's kernel does too."""

FUSED: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "Clip": ("hardtanh", ("min", "max")),
    "HardSwish": ("hardswish", ()),
    "LeakyRelu": ("leaky_relu", ("alpha",)),
    "Relu": ("relu", ()),
    "Sigmoid": ("sigmoid", ()),
    "Tanh": ("tanh", ()),
}
"""The activations that oneDNN computes with a convolution: their names there, and arguments."""


def activation_of(op: Op, domain: Domain) -> Optional[Unary]:
    """The kernel of the activation behind a Conv, for its output in place; None without one."""
    after = op.attributes.get(AFTER)
    return None if after is None else Unary(after, domain)


class Called(Kernel):
    """A convolution that is one call of PyTorch.

    A convolution of one dimension is one of two dimensions, whose images are one element high.

    Attributes:
        weights: The weights (M, C / groups, *kernel).
        bias: The bias (M,), or None.
        arguments: The padding, strides and dilations, as PyTorch has them.
        groups: The number of sets of channels that do not mix.
        after: The activation that follows, where the call does not compute it itself.
    """

    makes = True

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        conv = convolution_of(op)
        window = conv.window
        self.border = Border(op, domain, window)
        self.groups = conv.groups
        self.after = activation_of(op, domain)
        self.bias = None if conv.bias is None else domain.constant(conv.bias)
        weights = domain.constant(conv.weights)
        pads, strides, dilations = self.border.pads, window.strides, window.dilations
        self.is_line = len(window.kernel) == 1
        if self.is_line:
            weights = weights.unsqueeze(2)
            pads, strides, dilations = (0, *pads), (1, *strides), (1, *dilations)
        self.weights = weights.contiguous(memory_format=domain.format(weights.ndim))
        self.arguments = [list(pads), list(strides), list(dilations)]

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> Tensor:
        """See `Kernel.call`."""
        x = self.border.around(inputs[0])
        y = self.compute(x.unsqueeze(2)).squeeze(2) if self.is_line else self.compute(x)
        if self.after is not None:
            self.after.call([y], y, None)
        return y.contiguous(memory_format=self.domain.format(y.ndim))

    def compute(self, x: Tensor) -> Tensor:
        """The convolution of a padded input, of two dimensions or more."""
        raise NotImplementedError


class Onednn(Called):
    """oneDNN's convolution. PyTorch takes its own for small shapes unless asked by name.

    On images channels-last the weights are put into oneDNN's own order beforehand, and activations
    are part of the call: PyTorch's compiler has a function for that, which is not documented.
    """

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.fused: Tuple[Any, ...] = ("none", [], "")
        self.packed: Any = None
        if not domain.last or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            return
        shape = [*op.inputs[0].shape[:2], *self.border.sizes]
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(
            self.weights, *self.arguments, self.groups, shape
        )
        del self.weights
        if self.after is not None:
            name, names = FUSED[self.after.op.kind]
            self.fused = (name, [self.after.op.number(word) for word in names], "")
            self.after = None

    def compute(self, x: Tensor) -> Tensor:
        """See `Called.compute`."""
        if self.packed is not None:
            places = (*self.arguments, self.groups)
            return torch.ops.mkldnn._convolution_pointwise(
                x, self.packed, self.bias, *places, *self.fused
            )
        return torch.mkldnn_convolution(x, self.weights, self.bias, *self.arguments, self.groups)


class Native(Called):
    """PyTorch's own convolution, which it takes when oneDNN is turned off."""

    def compute(self, x: Tensor) -> Tensor:
        """See `Called.compute`."""
        pads, strides, dilations = self.arguments
        was = torch._C._get_mkldnn_enabled()  # what `torch.backends.mkldnn.flags` sets, and TF32
        torch._C._set_mkldnn_enabled(False)
        try:
            return torch.convolution(
                x,
                self.weights,
                self.bias,
                strides,
                pads,
                dilations,
                False,
                [0] * len(pads),
                self.groups,
            )
        finally:
            torch._C._set_mkldnn_enabled(was)


class Cudnn(Called):
    """cuDNN's convolution, with the algorithm that its own search finds; the bias is added."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        if self.bias is not None:
            self.bias = self.bias.view(1, -1, *[1] * (self.weights.ndim - 2))

    def compute(self, x: Tensor) -> Tensor:
        """See `Called.compute`."""
        pads, strides, dilations = self.arguments
        search, repeatable, tf32 = True, False, self.domain.precision == "tf32"
        y = torch.cudnn_convolution(
            x, self.weights, pads, strides, dilations, self.groups, search, repeatable, tf32
        )
        return y if self.bias is None else y.add_(self.bias)


class Depthwise(Called):
    """PyTorch's own kernel of a GPU for filters that read one channel each."""

    def compute(self, x: Tensor) -> Tensor:
        """See `Called.compute`."""
        pads, strides, dilations = self.arguments
        size = list(self.weights.shape[2:])
        names = {2: "_conv_depthwise2d", 3: "conv_depthwise3d"}
        function = getattr(torch._C._nn, names[len(size)], None) or getattr(
            torch.ops.aten, names[len(size)]
        )
        return function(x, self.weights, size, self.bias, strides, pads, dilations)


class Transposed(Made):
    """A transposed convolution (ONNX ConvTranspose 11), cut where its padding is not equal."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        names = ("begins", "ends", "strides", "dilations", "output_padding")
        begins, ends, strides, dilations, added = (op.ints(name) for name in names)
        out = op.outputs[0].shape[2:]
        self.is_line = len(out) == 1
        pads = begins if begins == ends else (0,) * len(out)
        cuts = (slice(b - p, b - p + n) for b, p, n in zip(begins, pads, out))
        self.cut: Any = (slice(None), slice(None), *cuts)
        weights = domain.constant(op.constant(1))
        bias = domain.constant(op.constant(2)) if len(op.inputs) > 2 else None
        if self.is_line:
            weights = weights.unsqueeze(2)
            pads, added = (0, *pads), (0, *added)
            strides, dilations = (1, *strides), (1, *dilations)
        if weights.ndim not in (4, 5):
            raise EngineError("ConvTranspose: of %d dimensions" % (weights.ndim - 2))
        weights = weights.contiguous(memory_format=domain.format(weights.ndim))
        transposed = (strides, pads, dilations, True, added, op.integer("group"))
        self.arguments = (weights, bias, *transposed)

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        (x,) = inputs
        y = torch.convolution(x.unsqueeze(2) if self.is_line else x, *self.arguments)
        return (y.squeeze(2) if self.is_line else y)[self.cut]
