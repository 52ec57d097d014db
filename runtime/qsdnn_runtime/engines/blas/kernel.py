"""The interface of a kernel: one operator of a segment, turned into a flat list of numpy calls.

What can be known before the buffers exist is done when a kernel is made: weights are reordered,
scratch is sized. `Kernel.steps` then names the calls for given buffers; each call writes into
memory that exists already (``out=``), so that running the calls allocates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

Shape = Tuple[int, ...]
Step = Callable[[], object]
Arrays = Sequence[np.ndarray]

TILE = 1 << 14
"""The number of elements that an operator of several passes works on at a time: six tiles of
float32 (two tensors, four scratch buffers) are 384 KiB, within the second-level cache of a
Cortex-A53 (512 KiB) and later."""


@dataclass(frozen=True)
class Operand:
    """A tensor that an operator reads or writes.

    Attributes:
        name: The tensor's name.
        shape: The tensor's dimensions.
        dtype: The name of the numpy dtype.
        constant: The tensor's value, if it never changes; else None.
    """

    name: str
    shape: Shape
    dtype: str
    constant: Optional[np.ndarray] = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Op:
    """One operator of a program.

    Attributes:
        kind: The ONNX operator name; attributes are resolved (see `program`).
        algorithm: The algorithm to use, e.g. ``"im2col"``; ``"numpy"`` where there is one way.
        inputs: The operands that the operator reads, constants included.
        outputs: The operands that the operator makes.
        attributes: The operator's attributes: numbers, lists of numbers and strings.
    """

    kind: str
    algorithm: str
    inputs: Tuple[Operand, ...]
    outputs: Tuple[Operand, ...]
    attributes: Mapping[str, Any]

    def ints(self, name: str) -> Tuple[int, ...]:
        """An attribute that is a list of integers.

        Raises:
            EngineError: The attribute is missing or something else.
        """
        value = self.attributes.get(name)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise EngineError("%s: '%s' is not a list of integers" % (self.kind, name))
        return tuple(value)

    def number(self, name: str) -> float:
        """An attribute that is a number.

        Raises:
            EngineError: The attribute is missing or something else.
        """
        value = self.attributes.get(name)
        if not isinstance(value, (int, float)):
            raise EngineError("%s: '%s' is not a number" % (self.kind, name))
        return value

    def integer(self, name: str) -> int:
        """An attribute that is an integer.

        Raises:
            EngineError: The attribute is missing or something else.
        """
        value = self.number(name)
        if not isinstance(value, int):
            raise EngineError("%s: '%s' is not an integer" % (self.kind, name))
        return value

    def constant(self, index: int) -> np.ndarray:
        """An input that never changes.

        Raises:
            EngineError: There is no such input, or the input changes.
        """
        if index >= len(self.inputs) or self.inputs[index].constant is None:
            raise EngineError("%s: input %d is not a constant" % (self.kind, index))
        value = self.inputs[index].constant
        assert value is not None
        return value


class Kernel:
    """One operator, ready for its buffers.

    Attributes:
        name: The name of the routines called, for `Applied.kernel`, e.g. ``"im2col+sgemm"``.
        algorithm: The name of the engine's algorithm.
        scratch: The shapes of the float32 buffers that the kernel needs while it runs.
        in_place: The inputs whose memory the first output may take, when shapes agree.
        view: Whether the output is the first input under another shape.
    """

    name = ""
    algorithm = "numpy"
    scratch: Tuple[Shape, ...] = ()
    in_place: Tuple[int, ...] = ()
    view = False

    def __init__(self, op: Op) -> None:
        self.op = op

    def steps(self, inputs: Arrays, outputs: Arrays, scratch: Arrays) -> Iterator[Step]:
        """The calls that compute the outputs from the inputs, in order.

        Args:
            inputs: The input arrays, C-contiguous, in the order of `op.inputs`, constants included.
            outputs: The output arrays, C-contiguous, in the order of `op.outputs`.
            scratch: The buffers of the shapes in `scratch`; their content is arbitrary at the
                start.
        """
        raise NotImplementedError


def scalar(value: float) -> np.ndarray:
    """A float32 array of no dimensions: numpy neither converts it nor widens a result for it."""
    return np.asarray(value, dtype=np.float32)


def tiles(*arrays: np.ndarray, size: int = TILE) -> Iterator[Tuple[np.ndarray, ...]]:
    """Matching flat parts of C-contiguous arrays of one size, small enough to stay in cache."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, size):
        yield tuple(array[start : start + size] for array in flat)


def blocks(count: int, each: int, size: int = TILE) -> Iterator[slice]:
    """Cuts ``count`` items of ``each`` elements into runs of about ``size`` elements.

    Args:
        count: The number of items, e.g. channels.
        each: The number of elements of one item, e.g. height × width.
        size: The number of elements that a run may have; a run has at least one item.
    """
    length = max(1, size // max(1, each))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
