"""Max and average pooling over windows: one elementwise pass a tap (ONNX MaxPool, AveragePool)."""

from __future__ import annotations

from functools import partial
from typing import Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Step, blocks, scalar
from .window import Window, window_of


class Pool(Kernel):
    """Combines the taps of each window with one ufunc, a few channels at a time."""

    name = "pool"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        if op.inputs[0].shape[:2] != op.outputs[0].shape[:2]:
            raise EngineError("%s: channels differ" % op.kind)
        self.window = window = window_of(op, op.ints("kernel"))
        self.channels = int(np.prod(op.inputs[0].shape[:2]))
        self.blocks = tuple(blocks(self.channels, int(np.prod(window.padded))))
        padless = window.padded == window.size
        self.scratch = ((0,) if padless else (self.blocks[0].stop, *window.padded),)
        self.ufunc, self.fill = (np.maximum, -np.inf) if op.kind == "MaxPool" else (np.add, 0.0)
        self.scale = None if op.kind == "MaxPool" else _reciprocals(window, op)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x = inputs[0].reshape(self.channels, *self.window.size)
        y = outputs[0].reshape(self.channels, *self.window.out)
        for block in self.blocks:
            yield from self._block(x[block], y[block], scratch[0])

    def _block(self, x: np.ndarray, y: np.ndarray, room: np.ndarray) -> Iterator[Step]:
        padded = yield from self.window.pad(x, room[: len(x)], 1, self.fill)
        patches = self.window.view(padded, axis=1)
        for number, tap in enumerate(self.window.taps):
            part = patches[(..., *tap)]
            yield partial(self.ufunc, y, part, y) if number else partial(np.copyto, y, part)
        if self.scale is not None:
            yield partial(np.multiply, y, self.scale, y)


def _reciprocals(window: Window, op: Op) -> np.ndarray:
    """1 / elements averaged in each window: a scalar where that is the same for all.

    Padding counts when ``count_include_pad`` is set, but what ``ceil_mode`` adds beyond it never.
    """
    ends = op.ints("ends") if op.integer("count_include_pad") else (0,) * len(window.kernel)
    begins = window.begins if op.integer("count_include_pad") else (0,) * len(window.kernel)
    counts = np.ones((), np.float32)
    for axis, taps in enumerate(window.kernel):
        starts = np.arange(window.out[axis]) * window.strides[axis] - window.begins[axis]
        places = starts[:, np.newaxis] + np.arange(taps) * window.dilations[axis]
        inside = (places >= -begins[axis]) & (places < window.size[axis] + ends[axis])
        counts = np.multiply.outer(counts, inside.sum(axis=1).astype(np.float32))
    if counts.min() == 0:
        raise EngineError("AveragePool: a window holds nothing but padding")
    same = counts.min() == counts.max()
    return scalar(1 / counts.flat[0]) if same else np.float32(1) / counts
