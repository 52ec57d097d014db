"""The sliding window of convolutions and pools: its geometry, its border, its view of memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any, Generator, Iterator, Tuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from qsdnn_runtime.engine import EngineError

from .kernel import Op, Shape, Step, scalar

BAND_ELEMENTS = 1 << 18
"""Elements of a patch matrix that are made at a time: 1 MiB, which the GEMM finds in cache."""
BAND_COLUMNS = 512
"""The fewest columns of a band: with fewer, the GEMM spends its time on packing weights again."""


@dataclass(frozen=True)
class Window:
    """A window over the last dimensions of a tensor; all tuples have one item for each dimension.

    Attributes:
        kernel: The number of taps.
        strides: The steps between windows.
        dilations: The steps between taps.
        begins: The padding before the input; the padding after it follows from the other fields.
        size: The size of the input, without padding.
        out: The number of windows.
    """

    kernel: Shape
    strides: Shape
    dilations: Shape
    begins: Shape
    size: Shape
    out: Shape

    @property
    def padded(self) -> Shape:
        """The size of the input with as much padding as the windows reach."""
        spans = zip(self.begins, self.size, self.out, self.strides, self.kernel, self.dilations)
        return tuple(max(b + n, (o - 1) * s + (k - 1) * d + 1) for b, n, o, s, k, d in spans)

    @property
    def is_identity(self) -> bool:
        """Whether each window is one element, and each element has one window."""
        return (
            all(k == 1 for k in self.kernel)
            and all(s == 1 for s in self.strides)
            and self.size == self.out == self.padded
        )

    @property
    def taps(self) -> Iterator[Shape]:
        """Positions in the window, in row-major order."""
        return itertools.product(*(range(k) for k in self.kernel))

    def view(self, x: np.ndarray, axis: int) -> np.ndarray:
        """All windows of a padded input, without a copy.

        Args:
            x: The padded input (…, *padded, …), whose padded dimensions start at `axis`.
            axis: The first of the padded dimensions.

        Returns:
            A view (…, *out, *kernel, …), not writable.
        """
        rank = len(self.kernel)
        inner = x.strides[axis : axis + rank]
        steps = tuple(s * n for s, n in zip(inner, self.strides))
        taps = tuple(s * n for s, n in zip(inner, self.dilations))
        return as_strided(
            x,
            x.shape[:axis] + self.out + self.kernel + x.shape[axis + rank :],
            x.strides[:axis] + steps + taps + x.strides[axis + rank :],
            writeable=False,
        )

    @property
    def line_length(self) -> int:
        """Positions of a padded input, row after row, from the first window to the last."""
        return 1 + sum((n - 1) * step for n, step in zip(self.out, self._line_steps))

    @property
    def _line_steps(self) -> Shape:
        """The distance between neighbours in each dimension of a padded input, in elements."""
        return tuple(int(np.prod(self.padded[axis + 1 :])) for axis in range(len(self.padded)))

    @property
    def offsets(self) -> Iterator[int]:
        """The distance from the first tap to each, in a padded input, in the order of `taps`."""
        for tap in self.taps:
            parts = zip(tap, self.dilations, self._line_steps)
            yield sum(place * dilation * step for place, dilation, step in parts)

    def line(self, x: np.ndarray) -> np.ndarray:
        """All windows of a padded input that is taken as one line, for strides of one.

        The windows of a row are followed by others that reach over the row's end, which mean
        nothing.

        Args:
            x: The padded input (C, *padded), C-contiguous.

        Returns:
            A view (C, line_length, *kernel), not writable.
        """
        size = x.itemsize
        taps = tuple(step * n * size for step, n in zip(self._line_steps, self.dilations))
        shape = (len(x), self.line_length, *self.kernel)
        return as_strided(x, shape, (x.strides[0], size, *taps), writeable=False)

    def rows(self, line: np.ndarray, axis: int) -> np.ndarray:
        """The values at the real windows of a `line`, without those that mean nothing.

        Args:
            line: The values (…, line_length, …), one for each window of the line.
            axis: The dimension of `line` that is the line.

        Returns:
            A view (…, *out, …), not writable.
        """
        steps = tuple(step * line.strides[axis] for step in self._line_steps)
        shape = line.shape[:axis] + self.out + line.shape[axis + 1 :]
        strides = line.strides[:axis] + steps + line.strides[axis + 1 :]
        return as_strided(line, shape, strides, writeable=False)

    def along(self, x: np.ndarray, axis: int) -> Iterator[np.ndarray]:
        """A padded input as each tap of one dimension of the windows sees it, tap after tap.

        Args:
            x: The input (C, …), of padded size along `axis`.
            axis: The dimension of the window.

        Returns:
            Views (C, …), of output size along `axis`.
        """
        reach = (self.out[axis] - 1) * self.strides[axis] + 1
        for tap in range(self.kernel[axis]):
            start = tap * self.dilations[axis]
            places = slice(start, start + reach, self.strides[axis])
            yield x[(slice(None),) * (1 + axis) + (places,)]

    def shifted(self, windows: np.ndarray) -> Iterator[np.ndarray]:
        """The input as each tap sees it, in the order of `taps`.

        Args:
            windows: The windows (…, *out, *kernel), from `view`.

        Returns:
            Views (…, *out), one for each tap.
        """
        for tap in self.taps:
            index: Tuple[Any, ...] = (Ellipsis, *tap)
            yield windows[index]

    def pad(
        self, x: np.ndarray, room: np.ndarray, axis: int, fill: float = 0.0
    ) -> Generator[Step, None, np.ndarray]:
        """The steps that pad an input as far as the windows reach.

        Args:
            x: The input (…, *size, …), whose window dimensions start at `axis`.
            room: A buffer (…, *padded, …), overwritten; unused when nothing needs padding.
            axis: The first of the window's dimensions.
            fill: The value around the input.

        Returns:
            `room`, or `x` itself when nothing needs padding.
        """
        if self.padded == self.size:
            return x
        value = scalar(fill)
        inside = [slice(None)] * x.ndim
        for at, begin in enumerate(self.begins, axis):
            end = begin + x.shape[at]
            for strip in (slice(0, begin), slice(end, None)):
                border = room[(*inside[:at], strip)]
                if border.size:
                    yield partial(np.copyto, border, value)
            inside[at] = slice(begin, end)
        yield partial(np.copyto, room[tuple(inside)], x)
        return room

    def bands(self, row_elements: int) -> Iterator[Tuple[int, int]]:
        """Cuts the rows of the output into bands whose patch matrix stays in cache.

        Args:
            row_elements: The number of elements of the patch matrix for one row of the output.
        """
        rows, columns = self.out[0], int(np.prod(self.out[1:]))
        height = max(BAND_ELEMENTS // row_elements, -(-BAND_COLUMNS // columns), 1)
        for start in range(0, rows, height):
            yield start, min(start + height, rows)


def window_of(op: Op, kernel: Shape) -> Window:
    """The window of a convolution or pool over (N, C, *size).

    Raises:
        EngineError: The operator's attributes make no window.
    """
    rank = len(kernel)
    window = Window(
        kernel=kernel,
        strides=op.ints("strides"),
        dilations=op.ints("dilations"),
        begins=op.ints("begins"),
        size=op.inputs[0].shape[2:],
        out=op.outputs[0].shape[2:],
    )
    positive = (kernel, window.strides, window.dilations, window.size, window.out)
    sound = all(len(field) == rank and min(field) > 0 for field in positive)
    if rank == 0 or not sound or len(window.begins) != rank or min(window.begins) < 0:
        raise EngineError("%s: malformed window" % op.kind)
    return window
