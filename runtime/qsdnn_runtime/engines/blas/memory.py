"""The place in memory of each tensor and each scratch buffer of a segment.

Three savings, in this order: a tensor that is another one under a new shape is the same memory; an
elementwise operator writes over an operand that nothing reads afterwards, so that Conv + Add + Relu
works on one buffer; the other tensors share one arena, as the times when they are needed allow
(`qsdnn_runtime.program.arena`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.arena import Life, aligned_block, place

from .kernel import Kernel, Operand, Shape


@dataclass
class Home:
    """A piece of memory that one or more tensors live in, one after another or as views.

    Attributes:
        name: The unique name of the home.
        size_bytes: The size of the tensors in the home.
        first: The position of the operator that first writes the home.
        last: The position of the last operator that reads the home; past the end when the caller
            does.
        external: The name of the caller's buffer that is the home; empty for the segment's own
            memory.
    """

    name: str
    size_bytes: int
    first: int
    last: int
    external: str = ""


class Memory:
    """The homes of all tensors of a segment, and the arena of the homes that are not the caller's.

    Args:
        kernels: The kernels, in the order in which they run.
        inputs: The operands that the caller fills.
        outputs: The operands that the caller reads.
    """

    def __init__(
        self, kernels: Sequence[Kernel], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> None:
        self._outputs = {operand.name for operand in outputs}
        self._inputs = {operand.name for operand in inputs}
        self._last = _last_reads(kernels, self._outputs)
        self._homes: Dict[str, Home] = {
            operand.name: Home(operand.name, _size_bytes(operand), -1, -1, operand.name)
            for operand in inputs
        }
        for position, kernel in enumerate(kernels):
            self._settle(position, kernel)
        self._scratch = [
            [_scratch_life(position, number, shape) for number, shape in enumerate(kernel.scratch)]
            for position, kernel in enumerate(kernels)
        ]
        lives = [life for row in self._scratch for life in row] + self._lives()
        self._offsets, size_bytes = place(lives)
        self._arena = aligned_block(size_bytes)

    @property
    def size_bytes(self) -> int:
        """The size of the arena."""
        return len(self._arena)

    def array(self, operand: Operand, external: Dict[str, np.ndarray]) -> np.ndarray:
        """The memory of an operand: a constant, the caller's buffer, or a part of the arena.

        Args:
            operand: An operand of the segment.
            external: The caller's buffers, by name.
        """
        if operand.constant is not None:
            return operand.constant
        home = self._homes[operand.name]
        if home.external:
            return external[home.external].reshape(operand.shape)
        return self._view(home.name, operand.shape, operand.dtype)

    def scratch(self, position: int, kernel: Kernel) -> List[np.ndarray]:
        """The scratch buffers of the kernel at a position."""
        pairs = zip(self._scratch[position], kernel.scratch)
        return [self._view(life.name, shape, "float32") for life, shape in pairs]

    def _view(self, name: str, shape: Shape, dtype: str) -> np.ndarray:
        count = int(np.prod(shape))
        start = self._offsets[name]
        stop = start + count * np.dtype(dtype).itemsize
        return self._arena[start:stop].view(dtype).reshape(shape)

    def _settle(self, position: int, kernel: Kernel) -> None:
        """Gives each output of a kernel its home."""
        for number, operand in enumerate(kernel.op.outputs):
            home = self._shared(position, kernel, operand) if number == 0 else None
            if home is None:
                home = Home(operand.name, _size_bytes(operand), position, position)
            if operand.name in self._outputs:
                home.external = operand.name
            home.last = max(home.last, self._last.get(operand.name, position))
            self._homes[operand.name] = home

    def _shared(self, position: int, kernel: Kernel, output: Operand) -> Optional[Home]:
        """The home of an input that a kernel's first output can move into, if there is one."""
        inputs = kernel.op.inputs
        homes = [self._homes.get(operand.name) for operand in inputs]
        for index in (0,) if kernel.view else kernel.in_place:
            home = homes[index]
            if home is None or (home.external and output.name in self._outputs):
                continue
            if kernel.view:
                return home if home.size_bytes == _size_bytes(output) else None
            fits = inputs[index].shape == output.shape and inputs[index].dtype == output.dtype
            if fits and not home.external and homes.count(home) == 1 and home.last == position:
                return home
        return None

    def _lives(self) -> List[Life]:
        homes = {home.name: home for home in self._homes.values() if not home.external}
        return [Life(h.name, h.size_bytes, h.first, h.last) for h in homes.values()]


def buffer_of(operand: Operand, buffers: Mapping[str, np.ndarray]) -> np.ndarray:
    """The caller's buffer of a tensor.

    Raises:
        EngineError: The buffer is missing, or of another type, shape or memory order.
    """
    buffer = buffers.get(operand.name)
    if buffer is None:
        raise EngineError("no buffer for '%s'" % operand.name)
    found = (buffer.dtype.name, buffer.shape, buffer.flags.c_contiguous)
    wanted = (operand.dtype, operand.shape, True)
    if found != wanted:
        raise EngineError(
            "buffer '%s' is %s, not %s (type, shape, contiguous)" % (operand.name, found, wanted)
        )
    return buffer


def _last_reads(kernels: Sequence[Kernel], outputs: set[str]) -> Dict[str, int]:
    reads = {
        operand.name: position
        for position, kernel in enumerate(kernels)
        for operand in kernel.op.inputs
    }
    reads.update(dict.fromkeys(outputs, len(kernels)))
    return reads


def _size_bytes(operand: Operand) -> int:
    return int(np.prod(operand.shape)) * np.dtype(operand.dtype).itemsize


def _scratch_life(position: int, number: int, shape: Tuple[int, ...]) -> Life:
    size_bytes = int(np.prod(shape)) * np.dtype(np.float32).itemsize
    return Life("scratch %d of operator %d" % (number, position), size_bytes, position, position)
