"""Operators that move elements and compute nothing, and the resizing of images."""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np
import torch

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.kernel import Op, Shape

from .domain import Domain, Tensor
from .kernel import Kernel, Made


class Reshape(Kernel):
    """The same elements in the same order under another shape."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        before, self.shape = op.inputs[0].shape, op.outputs[0].shape
        self.reads = (0,)
        plain = not domain.last or 4 not in (len(before), len(self.shape))
        self.view = plain or before == self.shape

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> Tensor:
        """See `Kernel.call`."""
        reshaped = inputs[0].reshape(self.shape)
        return reshaped if self.view else out.copy_(reshaped)


class Transpose(Kernel):
    """The input under a shape, with its dimensions in another order."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.shape, self.perm = op.ints("shape"), op.ints("perm")
        self.moved = tuple(self.shape[axis] for axis in self.perm)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        moved = inputs[0].reshape(self.shape).permute(self.perm)
        if out.shape == moved.shape:
            out.copy_(moved)
        elif out.is_contiguous():
            out.view(self.moved).copy_(moved)
        else:
            out.copy_(moved.reshape(out.shape))


class Concat(Kernel):
    """The inputs behind one another along a dimension."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.axis = op.integer("axis")

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        torch.cat(list(inputs), self.axis, out=out)


class Slice(Kernel):
    """A part of the input, of every so many elements; a view where the part lies in one piece.

    Args:
        op: The operator.
        domain: The domain of its layer.
        parts: The part of each dimension.
    """

    def __init__(self, op: Op, domain: Domain, parts: Tuple[slice, ...]) -> None:
        super().__init__(op, domain)
        self.reads = (0,)
        shape = op.inputs[0].shape
        # PyTorch does not go backwards: such a dimension is gathered
        self.parts = tuple(
            slice(None) if part.step is not None and part.step < 0 else part for part in parts
        )
        self.gathered = [
            (axis, domain.constant(np.arange(shape[axis])[part].copy()))
            for axis, part in enumerate(parts)
            if part.step is not None and part.step < 0
        ]
        whole = torch.empty(shape, device="meta")
        whole = whole.contiguous(memory_format=domain.format(len(shape)))[self.parts]
        is_dense = whole.is_contiguous(memory_format=domain.format(len(shape)))
        self.view = not self.gathered and bool(is_dense)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> Tensor:
        """See `Kernel.call`."""
        part = inputs[0][self.parts]
        for axis, places in self.gathered:
            part = part.index_select(axis, places)
        return part if self.view else out.copy_(part)


def slice_of(op: Op, domain: Domain) -> Slice:
    """The kernel of a Slice.

    Raises:
        EngineError: The operator has no limits.
    """
    limits = [op.attributes.get(name) for name in ("starts", "stops", "steps")]
    if not all(isinstance(limit, list) for limit in limits):
        raise EngineError("Slice: malformed limits")
    return Slice(op, domain, tuple(slice(*limit) for limit in zip(*limits)))


def part_of(op: Op, domain: Domain, number: int) -> Slice:
    """The kernel of one output of a Split."""
    axis = op.integer("axis")
    ends = np.cumsum([output.shape[axis] for output in op.outputs]).tolist()
    start, stop = ([0, *ends][number], ends[number])
    return Slice(op, domain, (*(slice(None),) * axis, slice(start, stop)))


class Pad(Kernel):
    """The input, with a border of one value."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.value = op.number("value")
        sizes = zip(op.ints("begins"), op.inputs[0].shape)
        self.inside = tuple(slice(begin, begin + size) for begin, size in sizes)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        out.fill_(self.value)
        out[self.inside].copy_(inputs[0])


class PadIndexed(Made):
    """The input, with a border of its own elements, whose places are known beforehand."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        mode = op.attributes.get("mode")
        if mode not in ("edge", "reflect", "wrap"):
            raise EngineError("Pad: unknown mode")
        shape = op.inputs[0].shape
        places = np.arange(int(np.prod(shape))).reshape(shape)
        self.places = domain.constant(
            np.pad(places, list(zip(op.ints("begins"), op.ints("ends"))), mode)
        )

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        return torch.take(inputs[0], self.places)


class Gather(Made):
    """Elements of the input along a dimension, by index; negative indices count from the end."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.axis, self.shape = op.integer("axis"), op.outputs[0].shape
        self.size = op.inputs[0].shape[self.axis]

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        x, indices = inputs
        places = torch.remainder(indices.reshape(-1), self.size)
        return x.index_select(self.axis, places).reshape(self.shape)


class Expand(Kernel):
    """The input, repeated along dimensions of size one."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        self.reads = (0,)

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        out.copy_(inputs[0])


class Resample(Made):
    """Rows and columns of an image as sums of others: two products, or copies by place."""

    def __init__(self, op: Op, domain: Domain) -> None:
        super().__init__(op, domain)
        before = op.inputs[0].shape[2:]
        taps = [np.asarray(op.attributes.get(name), np.float32) for name in ("rows", "columns")]
        if any(array.ndim != 3 for array in taps) or len(before) != 2:
            raise EngineError("Resample: malformed taps")
        self.copies = all(array.shape[1] == 1 for array in taps)
        if self.copies:
            places = (array[:, 0, 0].astype(np.int64) for array in taps)
            self.rows, self.columns = (domain.constant(place) for place in places)
        else:
            self.rows, columns = (
                domain.constant(_matrix(array, (len(array), size)))
                for array, size in zip(taps, before)
            )
            self.columns = columns.t()

    def compute(self, *inputs: Tensor) -> Tensor:
        """See `Made.compute`."""
        (x,) = inputs
        if self.copies:
            return x.index_select(2, self.rows).index_select(3, self.columns)
        return torch.matmul(self.rows, torch.matmul(x, self.columns))


def _matrix(taps: np.ndarray, shape: Shape) -> np.ndarray:
    """The matrix of a resized dimension (outputs, inputs); taps at one place add up."""
    matrix = np.zeros(shape, np.float32)
    outputs = np.arange(len(taps))[:, None]
    np.add.at(matrix, (outputs, taps[..., 0].astype(np.int64)), taps[..., 1])
    return matrix
