"""Reductions: over windows, which is pooling, and over dimensions."""

from __future__ import annotations

from functools import partial
from typing import Dict, Iterator

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Step, blocks, scalar
from .window import Window, window_of

BLOCK = 1 << 16
"""Elements of a block of channels, 256 KiB: what one pass writes, the next reads from cache."""

UFUNCS: Dict[str, np.ufunc] = {
    "ReduceMax": np.maximum,
    "ReduceMean": np.add,
    "ReduceMin": np.minimum,
    "ReduceSum": np.add,
}


class Pool(Kernel):
    """Combines the taps of each window with one ufunc, a few channels at a time.

    Max and average pooling (ONNX MaxPool 12, AveragePool 19) are separable: working on one
    dimension at a time, outermost first, takes K passes for each dimension instead of K² in all,
    and all but the last pass run over adjacent elements.
    """

    name = "pool"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        if op.inputs[0].shape[:2] != op.outputs[0].shape[:2]:
            raise EngineError("%s: channels differ" % op.kind)
        self.window = window = window_of(op, op.ints("kernel"))
        self.channels = int(np.prod(op.inputs[0].shape[:2]))
        self.blocks = tuple(blocks(self.channels, int(np.prod(window.padded)), BLOCK))
        width, rank = self.blocks[0].stop, len(window.kernel)
        room = (0,) if window.padded == window.size else (width, *window.padded)
        between = ((width, *window.out[:i], *window.padded[i:]) for i in range(1, rank))
        self.scratch = (room, *between)
        is_max = op.kind == "MaxPool"
        self.ufunc: np.ufunc = np.maximum if is_max else np.add
        self.fill = -np.inf if is_max else 0.0
        self.scale = None if is_max else _reciprocals(window, op)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x = inputs[0].reshape(self.channels, *self.window.size)
        y = outputs[0].reshape(self.channels, *self.window.out)
        for block in self.blocks:
            yield from self._block(x[block], y[block], scratch)

    def _block(self, x: np.ndarray, y: np.ndarray, scratch: Arrays) -> Iterator[Step]:
        room, *between = (array[: len(x)] for array in scratch)
        source = yield from self.window.pad(x, room, 1, self.fill)
        for axis, target in enumerate([*between, y]):
            taps = self.window.along(source, axis)
            first = next(taps)
            second = next(taps, None)
            if second is None:
                yield partial(np.copyto, target, first)
            else:
                yield partial(self.ufunc, first, second, out=target)
            for tap in taps:
                yield partial(self.ufunc, target, tap, out=target)
            source = target
        if self.scale is not None:
            yield partial(np.multiply, y, self.scale, out=y)


def _reciprocals(window: Window, op: Op) -> np.ndarray:
    """1 / the number of elements averaged in each window: a scalar where all windows are alike.

    Padding counts when ``count_include_pad`` is set, but what ``ceil_mode`` adds never counts.
    """
    counted = op.integer("count_include_pad") != 0
    none = (0,) * len(window.kernel)
    begins, ends = (window.begins, op.ints("ends")) if counted else (none, none)
    counts = np.ones((), np.float32)
    for axis, taps in enumerate(window.kernel):
        starts = np.arange(window.out[axis]) * window.strides[axis] - window.begins[axis]
        places = starts[:, np.newaxis] + np.arange(taps) * window.dilations[axis]
        inside = (places >= -begins[axis]) & (places < window.size[axis] + ends[axis])
        counts = np.multiply.outer(counts, inside.sum(axis=1).astype(np.float32))
    if counts.min() == 0:
        raise EngineError("AveragePool: a window holds nothing but padding")
    same = counts.min() == counts.max()
    return scalar(1 / float(counts.flat[0])) if same else np.float32(1) / counts


class Reduce(Kernel):
    """One ufunc over some dimensions, as global pooling does (ONNX ReduceMean 18 and its like)."""

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        self.axes, self.ufunc = op.ints("axes"), UFUNCS[op.kind]
        self.name = op.kind.lower()
        shape = op.inputs[0].shape
        self.kept = tuple(1 if axis in self.axes else n for axis, n in enumerate(shape))
        self.count = int(np.prod(shape)) // max(1, int(np.prod(self.kept)))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        y = outputs[0].reshape(self.kept)
        yield partial(self.ufunc.reduce, inputs[0], axis=self.axes, out=y, keepdims=True)
        if self.op.kind == "ReduceMean":
            yield partial(np.multiply, y, scalar(1 / self.count), out=y)
