"""Convolutions as matrix products: the patches of an image are copied, then multiplied.

The bias is the product's start, so that both are one call.
"""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

import numpy as np
import torch

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.convolution import convolution_of
from qsdnn_runtime.engines.blas.kernel import Op, Shape
from qsdnn_runtime.engines.blas.window import Window

from .convolution import activation_of
from .domain import Domain, Tensor
from .kernel import Kernel
from .window import Border

UNFOLDING = ("cuda",)
"""The devices where patches are made by PyTorch's own function, one kernel there. On a CPU a
strided copy took a tenth to a half of its time, at five typical layers."""


class Im2col(Kernel):
    """y = W · columns(x) + bias for each image, and for each group of channels.

    K. Chellapilla, S. Puri, P. Simard: High Performance Convolutional Neural Networks for Document
    Processing, 2006. A 1×1 of stride 1 without padding multiplies the image itself.
    """

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        self.conv = conv = convolution_of(op)
        self.after = activation_of(op, domain)
        self.rows = conv.channels // conv.groups * conv.taps
        grouped = (conv.groups, conv.filters // conv.groups)
        self.weights = domain.constant(conv.weights).view(*grouped, self.rows)
        self.bias = None if conv.bias is None else domain.constant(conv.bias).view(*grouped, 1)
        self.border: Optional[Border] = None
        self.room: Tensor = None
        if domain.device in UNFOLDING and len(conv.window.kernel) == 2:
            self.border = Border(op, domain, conv.window)
        else:
            self.room = _room(conv.window, op, domain)
        if not conv.window.is_identity:
            self.scratch = (conv.groups, self.rows, conv.positions)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        conv = self.conv
        if self.border is None:
            padded = _padded(inputs[0], self.room, conv.window)
        else:
            padded = self.border.around(inputs[0])
        for number in range(len(padded)):
            image, output = padded.select(0, number), out.select(0, number)
            y = output.view(conv.groups, -1, conv.positions)
            if scratch is None:
                columns = image.view(conv.groups, self.rows, -1)
            else:
                columns = scratch
                self._unfold(image, scratch)
            if conv.groups > 1 and self.bias is not None:
                torch.baddbmm(self.bias, self.weights, columns, out=y)
            elif conv.groups > 1:
                torch.bmm(self.weights, columns, out=y)
            elif self.bias is not None:
                torch.addmm(self.bias[0], self.weights[0], columns[0], out=y[0])
            else:
                torch.mm(self.weights[0], columns[0], out=y[0])
        if self.after is not None:
            self.after.call([out], out, None)

    def _unfold(self, image: Tensor, columns: Tensor) -> None:
        """Writes the patches of an image (C, height, width), with its room around it."""
        conv, window = self.conv, self.conv.window
        if self.border is None:
            shape = (conv.channels, *window.kernel, *window.out)
            columns.view(shape).copy_(_patches(image, window))
            return
        places = (window.kernel, window.dilations, self.border.pads, window.strides)
        flat = columns.view(1, -1, conv.positions)
        torch._C._nn.im2col(image.unsqueeze(0), *places, out=flat)


class Im2row(Kernel):
    """y = rows(x) · W + bias, on images that lie channels-last; all images in one product."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        self.conv = conv = convolution_of(op)
        if conv.groups > 1 or len(conv.window.kernel) != 2:
            raise EngineError("Conv: rows of patches take images and one group")
        self.after = activation_of(op, domain)
        # on a GPU bias and Relu are part of the product, by a function that is not documented
        has_relu = self.after is not None and self.after.op.kind == "Relu"
        can_fuse = domain.device == "cuda" and hasattr(torch, "_addmm_activation")
        self.is_fused = has_relu and can_fuse and conv.bias is not None
        self.taps = conv.channels * conv.taps
        weights = np.ascontiguousarray(np.moveaxis(conv.weights, 1, -1))  # (M, *kernel, C)
        self.weights = domain.constant(weights).view(conv.filters, self.taps).t()
        self.bias = None if conv.bias is None else domain.constant(conv.bias)
        self.room = _room(conv.window, op, domain)
        self.batch = op.inputs[0].shape[0]
        if not conv.window.is_identity:
            self.scratch = (self.batch * conv.positions, self.taps)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        conv, last = self.conv, (0, 2, 3, 1)
        padded = _padded(inputs[0], self.room, conv.window).permute(last)
        y = out.permute(last).view(-1, conv.filters)
        if scratch is None:
            rows = padded.view(-1, self.taps)
        else:
            rows = scratch
            shape = (self.batch, *conv.window.out, *conv.window.kernel, conv.channels)
            scratch.view(shape).copy_(_patches_last(padded, conv.window))
        if self.is_fused:
            torch._addmm_activation(self.bias, rows, self.weights, use_gelu=False, out=y)
            return
        if self.bias is None:
            torch.mm(rows, self.weights, out=y)
        else:
            torch.addmm(self.bias, rows, self.weights, out=y)
        if self.after is not None:
            self.after.call([out], out, None)


def _room(window: Window, op: Op, domain: Domain) -> Tensor:
    """A room of zeros for padded images (N, C, *padded); None where nothing needs padding."""
    if window.padded == window.size:
        return None
    return domain.room((*op.inputs[0].shape[:2], *window.padded))


def _padded(x: Tensor, room: Tensor, window: Window) -> Tensor:
    if room is None:
        return x
    inside = (slice(begin, begin + size) for begin, size in zip(window.begins, window.size))
    room[(slice(None), slice(None), *inside)].copy_(x)
    return room


def _patches(image: Tensor, window: Window) -> Tensor:
    """The patches of a padded image (C, *padded): a view (C, *kernel, *out)."""
    channel, *inner = image.stride()
    taps, steps = _strides(inner, window)
    shape = (image.shape[0], *window.kernel, *window.out)
    return image.as_strided(shape, (channel, *taps, *steps))


def _patches_last(images: Tensor, window: Window) -> Tensor:
    """The patches of padded images (N, *padded, C): a view (N, *out, *kernel, C)."""
    batch, *inner, channel = images.stride()
    taps, steps = _strides(inner, window)
    shape = (images.shape[0], *window.out, *window.kernel, images.shape[-1])
    return images.as_strided(shape, (batch, *steps, *taps, channel))


def _strides(inner: Sequence[int], window: Window) -> Tuple[Shape, Shape]:
    """The strides between taps, and between windows."""
    taps = tuple(stride * n for stride, n in zip(inner, window.dilations))
    return taps, tuple(stride * n for stride, n in zip(inner, window.strides))
