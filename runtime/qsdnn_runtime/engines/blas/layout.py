"""Operators that move elements and compute nothing."""

from __future__ import annotations

from functools import partial
from typing import Iterator, List

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Arrays, Kernel, Op, Step, scalar


class Reshape(Kernel):
    """The input under another shape: no work, where input and output can be the same memory."""

    name = "reshape"
    view = True

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y = inputs[0].reshape(-1), outputs[0].reshape(-1)
        if not np.may_share_memory(x, y):
            yield partial(np.copyto, y, x)


class Transpose(Kernel):
    """Permutes dimensions, of the input itself or of the input under another shape."""

    name = "transpose"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x = inputs[0].reshape(self.op.ints("shape")).transpose(self.op.ints("perm"))
        yield partial(np.copyto, outputs[0].reshape(x.shape), x)


class Concat(Kernel):
    """The inputs, one after another along a dimension."""

    name = "concat"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for x, part in zip(inputs, _parts(outputs[0], inputs, self.op.integer("axis"))):
            yield partial(np.copyto, part, x)


class Split(Kernel):
    """The input, cut along a dimension."""

    name = "split"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        for y, part in zip(outputs, _parts(inputs[0], outputs, self.op.integer("axis"))):
            yield partial(np.copyto, y, part)


class Slice(Kernel):
    """Every `steps`-th element between `starts` and `stops`, for each dimension."""

    name = "slice"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        limits = [op.attributes.get(name) for name in ("starts", "stops", "steps")]
        if not all(isinstance(limit, list) for limit in limits):
            raise EngineError("Slice: malformed limits")
        self.slices = tuple(slice(*limit) for limit in zip(*limits))

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        yield partial(np.copyto, outputs[0], inputs[0][self.slices])


class Pad(Kernel):
    """The input, with a border of one value."""

    name = "pad"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, y = inputs[0], outputs[0]
        begins = self.op.ints("begins")
        inside = tuple(slice(begin, begin + n) for begin, n in zip(begins, x.shape))
        yield partial(np.copyto, y, scalar(self.op.number("value")))
        yield partial(np.copyto, y[inside], x)


class PadIndexed(Kernel):
    """The input, with a border of its own elements, whose places are known beforehand."""

    name = "pad"

    def __init__(self, op: Op) -> None:
        super().__init__(op)
        shape = op.inputs[0].shape
        mode = op.attributes.get("mode")
        if mode not in ("edge", "reflect", "wrap"):
            raise EngineError("Pad: unknown mode")
        places = np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
        widths = list(zip(op.ints("begins"), op.ints("ends")))
        self.places: np.ndarray = np.pad(places, widths, mode)

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        # only mode "clip" writes into `out` without a buffer
        yield partial(np.take, inputs[0].reshape(-1), self.places, None, outputs[0], "clip")


class Gather(Kernel):
    """Elements of the input along a dimension, by index; negative indices count from the end."""

    name = "take"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        x, indices = inputs
        yield partial(np.take, x, indices, self.op.integer("axis"), outputs[0], "wrap")


class Expand(Kernel):
    """The input, repeated along dimensions of size one."""

    name = "expand"

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """See `Kernel.steps`."""
        yield partial(np.copyto, outputs[0], inputs[0])


def _parts(whole: np.ndarray, parts: Arrays, axis: int) -> List[np.ndarray]:
    """Views of `whole` along a dimension, one as long as each of `parts`, in order."""
    ends = np.cumsum([part.shape[axis] for part in parts])
    return np.split(whole, ends[:-1].tolist(), axis)
