"""The tensors of a segment: one block of memory, shared as the times of need allow."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import torch

from qsdnn_runtime.program.arena import Life, aligned_block, place

from .domain import Tensor
from .network import Network, Place, Step


class Memory:
    """The tensors that exist before a segment runs, but for the caller's.

    Attributes:
        values: The tensor of each slot; None for what kernels make, and for the caller's.
        scratch: The scratch tensor of each step, in the order in which steps run; None without one.

    Args:
        network: The slots and the steps.
        device: The device that the memory is of.
    """

    def __init__(self, network: Network, device: str) -> None:
        steps = network.steps
        lives = [*_lives(network, steps), *_scratch_lives(steps)]
        offsets, size_bytes = place(lives)
        block = _block(size_bytes, device)
        self.values: List[Tensor] = [None] * len(network.slots)
        for number, slot in enumerate(network.slots):
            operand = slot.operand
            if slot.place is Place.CONSTANT:
                assert operand.constant is not None
                self.values[number] = slot.domain.constant(operand.constant)
            elif str(slot.root) in offsets and slot.place is Place.ARENA:
                start = block[offsets[str(number)] :]
                self.values[number] = slot.domain.view(start, operand.shape, operand.dtype)
        self.scratch: List[Tensor] = [
            step.kernel.domain.view(block[offsets[_scratch(at)] :], step.kernel.scratch)
            if step.kernel.scratch
            else None
            for at, step in enumerate(steps)
        ]


def _block(size_bytes: int, device: str) -> Any:
    """Bytes that start at a cache line."""
    if device == "cpu":
        return torch.from_numpy(aligned_block(size_bytes))
    return torch.zeros(size_bytes, dtype=torch.uint8, device=device)


def _lives(network: Network, steps: List[Step]) -> List[Life]:
    span: Dict[int, Tuple[int, int]] = {}
    for position, step in enumerate(steps):
        for root in (*network.roots_read(step), network.slots[step.write].root):
            span[root] = (span.get(root, (position, position))[0], position)
    return [
        Life(str(root), slot.domain.size_bytes(slot.operand.shape, slot.operand.dtype), *times)
        for root, times in span.items()
        for slot in (network.slots[root],)
        if slot.place is Place.ARENA
    ]


def _scratch_lives(steps: List[Step]) -> List[Life]:
    return [
        Life(_scratch(at), step.kernel.domain.size_bytes(step.kernel.scratch), at, at)
        for at, step in enumerate(steps)
        if step.kernel.scratch
    ]


def _scratch(position: int) -> str:
    return "scratch of step %d" % position
