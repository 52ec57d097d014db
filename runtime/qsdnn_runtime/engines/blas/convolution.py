"""The part that all convolution algorithms share: the operands of an ONNX Conv, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Op, Shape
from .window import Window, window_of


@dataclass(frozen=True)
class Convolution:
    """y[n, m] = bias[m] + Σ_c Σ_tap weights[m, c, tap] · x[n, c, window(tap)] (ONNX Conv 11).

    Attributes:
        weights: The weights (M, C / groups, *kernel).
        bias: The bias (M,), or None.
        groups: The number of sets of channels that do not mix.
        channels: C, the number of input channels.
        filters: M, the number of output channels.
        window: The window that slides over the input's last dimensions.
    """

    weights: np.ndarray = field(repr=False)
    bias: Optional[np.ndarray] = field(repr=False)
    groups: int
    channels: int
    filters: int
    window: Window

    @property
    def taps(self) -> int:
        """The number of positions in the window."""
        return int(np.prod(self.window.kernel))

    @property
    def positions(self) -> int:
        """The number of windows in one image."""
        return int(np.prod(self.window.out))

    @property
    def room(self) -> Shape:
        """The shape of a padded image (C, *padded); (0,) when the image needs no padding."""
        window = self.window
        return (0,) if window.padded == window.size else (self.channels, *window.padded)

    @property
    def is_depthwise(self) -> bool:
        """Whether each filter reads one channel."""
        return self.groups == self.channels

    def start(self) -> np.ndarray:
        """The start of a sum over taps (M, 1, …): the bias, or zeros."""
        bias = np.zeros(self.filters, np.float32) if self.bias is None else self.bias
        return bias.reshape((-1,) + (1,) * len(self.window.kernel))


def convolution_of(op: Op) -> Convolution:
    """Reads the operands of a Conv.

    Raises:
        EngineError: The operands do not fit together.
    """
    weights = op.constant(1)
    bias = op.constant(2) if len(op.inputs) > 2 else None
    x, y, groups = op.inputs[0].shape, op.outputs[0].shape, op.integer("group")
    fits = (
        weights.ndim == len(x) == len(y) >= 3
        and x[0] == y[0]
        and groups > 0
        and x[1] == weights.shape[1] * groups
        and y[1] == weights.shape[0]
        and y[1] % groups == 0
        and (bias is None or bias.shape == (y[1],))
    )
    if not fits:
        raise EngineError("Conv: shapes %s, %s and %s do not fit" % (x, weights.shape, y))
    window = window_of(op, weights.shape[2:])
    return Convolution(weights, bias, groups, x[1], y[1], window)
