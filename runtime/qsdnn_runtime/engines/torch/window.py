"""Windows of convolutions and pools as PyTorch takes them: with equal padding before and after.

Where a window's padding is not so, the input is copied into a room that has the padding around it.
"""

from __future__ import annotations

from typing import Tuple

from qsdnn_runtime.engines.blas.kernel import Op, Shape
from qsdnn_runtime.engines.blas.window import Window

from .domain import Domain, Tensor


class Border:
    """The padding of a window's input.

    Attributes:
        pads: The padding that PyTorch is to add before and after each dimension.
        sizes: The sizes of what PyTorch is given.

    Args:
        op: The operator, whose first input the window slides over.
        domain: The domain of its layer.
        window: The window.
        fill: The value around the input.
        most: The most padding that PyTorch adds to each dimension.
    """

    def __init__(
        self, op: Op, domain: Domain, window: Window, fill: float = 0.0, most: Shape = ()
    ) -> None:
        none = (0,) * len(window.kernel)
        fits = all(b <= m for b, m in zip(window.begins, most or window.begins))
        self._room: Tensor = None
        self.sizes = window.size
        if fits and outputs_of(window, window.begins) == window.out:
            self.pads = window.begins
            return
        self.pads = none
        if window.padded != window.size or outputs_of(window, none) != window.out:
            self._room = domain.room((*op.inputs[0].shape[:2], *window.padded), fill)
            self.sizes = window.padded
            begins = (0, 0, *window.begins)
            sizes = zip(begins, op.inputs[0].shape)
            self._inside = tuple(slice(begin, begin + size) for begin, size in sizes)

    def around(self, x: Tensor) -> Tensor:
        """The input, with what padding PyTorch does not add.

        Args:
            x: The input (N, C, *size).
        """
        if self._room is None:
            return x
        self._room[self._inside].copy_(x)
        return self._room


def outputs_of(window: Window, pads: Shape) -> Tuple[int, ...]:
    """The number of windows in each dimension, with some padding before and after."""
    spans = ((k - 1) * d + 1 for k, d in zip(window.kernel, window.dilations))
    sizes = zip(window.size, pads, spans, window.strides)
    return tuple((size + 2 * pad - span) // stride + 1 for size, pad, span, stride in sizes)
