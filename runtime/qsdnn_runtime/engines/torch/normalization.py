"""Normalizations: by mean and variance, across channels, and softmax."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import torch

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.kernel import Op

from .domain import Domain, Tensor
from .kernel import Kernel, Made


class BatchNormalization(Kernel):
    """x · scale + shift for each channel, with constant scale and shift (BatchNormalization 15)."""

    in_place = (0,)

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        gamma, beta, mean, variance = (op.constant(i).astype(np.float64) for i in range(1, 5))
        scale = gamma / np.sqrt(variance + op.number("epsilon"))
        shape = (-1,) + (1,) * (len(op.inputs[0].shape) - 2)
        self.scale = domain.constant(scale.astype(np.float32).reshape(shape))
        self.shift = domain.constant((beta - mean * scale).astype(np.float32).reshape(shape))

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        torch.addcmul(self.shift, inputs[0], self.scale, out=out)


class Standardization(Made):
    """(x - mean) / √(variance + epsilon) · scale + shift, over rows of the input.

    A row is the last dimensions of a token for LayerNormalization 17, a channel of an image for
    InstanceNormalization 6, a group of channels for GroupNormalization 21.
    """

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        shape, rows = op.inputs[0].shape, op.integer("rows")
        parameter_shape, size = op.ints("parameter_shape"), int(np.prod(shape))
        if rows <= 0 or size % rows:
            raise EngineError("%s: %d rows do not fit" % (op.kind, rows))
        self.epsilon = op.number("epsilon")
        axis = len(shape) - len(parameter_shape)
        self.by_token = parameter_shape == shape[axis:] and rows == int(np.prod(shape[:axis]))
        if not self.by_token and (
            len(shape) < 2 or rows % shape[0] or shape[1] % (rows // shape[0])
        ):
            raise EngineError("%s: %d rows do not fit" % (op.kind, rows))
        self.row_shape = list(parameter_shape)
        self.groups = 0 if self.by_token else rows // shape[0]

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        x, *parameters = inputs
        scale, shift = (*parameters, None, None)[:2]
        if self.by_token:
            shaped = [p if p is None else p.reshape(self.row_shape) for p in (scale, shift)]
            return torch.layer_norm(x, self.row_shape, shaped[0], shaped[1], self.epsilon)
        flat = [p if p is None else p.reshape(-1) for p in (scale, shift)]
        return torch.group_norm(x, self.groups, flat[0], flat[1], self.epsilon)


class LRN(Made):
    """y = x / (bias + alpha · the mean of x² over neighbouring channels) ^ beta (ONNX LRN 13)."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.size = op.integer("size")
        self.alpha, self.beta, self.bias = (op.number(n) for n in ("alpha", "beta", "bias"))
        # ONNX: channels c - floor((size - 1) / 2) ... c + ceil((size - 1) / 2)
        self.border = [0, 0, 0, 0, (self.size - 1) // 2, self.size // 2]

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        (x,) = inputs
        squares = torch.constant_pad_nd((x * x).unsqueeze(1), self.border, 0.0)
        mean = torch._C._nn.avg_pool3d(squares, [self.size, 1, 1], [1, 1, 1]).squeeze(1)
        return x / mean.mul_(self.alpha).add_(self.bias).pow_(self.beta)


class Softmax(Kernel):
    """exp(x - max) / Σ exp(x - max), or its logarithm, over some dimensions (ONNX Softmax 13)."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.function = torch.softmax if op.kind == "Softmax" else torch.log_softmax
        self.axes = op.ints("axes")

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        if len(self.axes) == 1:
            self.function(inputs[0], self.axes[0], out=out)
        else:  # the last dimensions, as one
            flat = inputs[0].flatten(self.axes[0])
            out.copy_(self.function(flat, self.axes[0]).reshape(out.shape))
