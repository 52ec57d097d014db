"""What a kernel is: one operator of a segment, turned into a flat list of numpy calls.

Everything that can be known before the buffers are is done when a kernel is made: weights
reordered, scratch sized. `Kernel.steps` then names the calls for given buffers; each writes into
memory that is there already (``out=``), so that running them allocates nothing.
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
"""Elements an operator of several passes works on at a time: six tiles of float32 (two tensors,
four of room) are 384 KiB, within the second-level cache of a Cortex-A53 (512 KiB) and later."""


@dataclass(frozen=True)
class Operand:
    """What an operator reads or writes.

    Attributes:
        name: The tensor.
        shape: Its dimensions.
        dtype: A numpy dtype name.
        constant: Its value, where it never changes.
    """

    name: str
    shape: Shape
    dtype: str
    constant: Optional[np.ndarray] = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Op:
    """One operator of a program.

    Attributes:
        kind: An ONNX operator name; attributes are resolved (see `program`).
        algorithm: How to compute it, e.g. ``"im2col"``; ``"numpy"`` where there is one way.
        inputs: Operands read, constants included.
        outputs: Operands made.
        attributes: Numbers, lists of numbers and strings.
    """

    kind: str
    algorithm: str
    inputs: Tuple[Operand, ...]
    outputs: Tuple[Operand, ...]
    attributes: Mapping[str, Any]

    def ints(self, name: str) -> Tuple[int, ...]:
        """An attribute that is a list of integers.

        Raises:
            EngineError: It is missing or something else.
        """
        value = self.attributes.get(name)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise EngineError("%s: '%s' is not a list of integers" % (self.kind, name))
        return tuple(value)

    def number(self, name: str) -> float:
        """An attribute that is a number.

        Raises:
            EngineError: It is missing or something else.
        """
        value = self.attributes.get(name)
        if not isinstance(value, (int, float)):
            raise EngineError("%s: '%s' is not a number" % (self.kind, name))
        return value

    def integer(self, name: str) -> int:
        """An attribute that is an integer.

        Raises:
            EngineError: It is missing or something else.
        """
        value = self.number(name)
        if not isinstance(value, int):
            raise EngineError("%s: '%s' is not an integer" % (self.kind, name))
        return value

    def constant(self, index: int) -> np.ndarray:
        """An input that never changes.

        Raises:
            EngineError: There is no such input, or it changes.
        """
        if index >= len(self.inputs) or self.inputs[index].constant is None:
            raise EngineError("%s: input %d is not a constant" % (self.kind, index))
        value = self.inputs[index].constant
        assert value is not None
        return value


class Kernel:
    """One operator, ready for its buffers.

    Attributes:
        name: What it calls, for `Applied.kernel`, e.g. ``"im2col+sgemm"``.
        algorithm: Which of the engine's algorithms it is.
        scratch: Shapes of the float32 buffers it needs while it runs.
        in_place: Inputs whose memory the first output may take, when shapes agree.
        view: The output is the first input under another shape.
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
            inputs: C-contiguous, as `op.inputs`, constants included.
            outputs: C-contiguous, as `op.outputs`.
            scratch: As `scratch`; holds anything at the start.
        """
        raise NotImplementedError


def scalar(value: float) -> np.ndarray:
    """A float32 of no dimensions: numpy neither converts it nor lets it change a result's type."""
    return np.asarray(value, dtype=np.float32)


def tiles(*arrays: np.ndarray, size: int = TILE) -> Iterator[Tuple[np.ndarray, ...]]:
    """Equal parts of C-contiguous arrays of one size, flat, small enough to stay in cache."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, size):
        yield tuple(array[start : start + size] for array in flat)


def blocks(count: int, each: int, size: int = TILE) -> Iterator[slice]:
    """Cuts ``count`` items of ``each`` elements into runs of about ``size`` elements.

    Args:
        count: Items, e.g. channels.
        each: Elements of one item, e.g. height × width.
        size: Elements a run may have; one item at the least.
    """
    length = max(1, size // max(1, each))
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
