"""One block of memory for every tensor between segments; unlike times of need share bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

from qsdnn_runtime.program.manifest import Manifest, TensorSpec

ALIGNMENT_BYTES = 64  # a cache line, and the widest vector register (AVX-512)


@dataclass(frozen=True)
class Life:
    """The time when a buffer is needed: from step `first` to step `last`, both included."""

    name: str
    size_bytes: int
    first: int
    last: int

    def meets(self, other: "Life") -> bool:
        """Whether this buffer and the other are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


def buffer_lives(manifest: Manifest) -> List[Life]:
    """The lives of a package's static tensors; a step is a segment.

    Inputs and outputs of the package live throughout: the caller may set an input once and run the
    package many times, and reads outputs after the run.
    """
    steps = len(manifest.segments)
    whole = dict.fromkeys((*manifest.inputs, *manifest.outputs), (-1, steps))
    span: Dict[str, Tuple[int, int]] = {}
    for step, segment in enumerate(manifest.segments):
        for name in (*segment.inputs, *segment.outputs):
            span[name] = (span.get(name, (step, step))[0], step)
    span.update(whole)
    return [
        Life(name=name, size_bytes=manifest.tensors[name].size_bytes, first=first, last=last)
        for name, (first, last) in span.items()
        if manifest.tensors[name].static
    ]


def place(lives: Sequence[Life]) -> Tuple[Dict[str, int], int]:
    """Offsets that keep buffers with meeting lives apart: greedy by size, smallest gap first.

    The heuristic is "Greedy by Size for Offset Calculation" of Pisarchyk and Lee, "Efficient
    Memory Management for Deep Neural Net Inference", 2020 (arXiv 2001.03288).

    Returns:
        The offset of each buffer, a multiple of `ALIGNMENT_BYTES`; and the size of all, in bytes.
    """
    placed: List[Tuple[int, Life]] = []
    offsets: Dict[str, int] = {}
    for life in sorted(lives, key=lambda life: (-life.size_bytes, life.first, life.name)):
        taken = sorted(
            (offset, offset + _room(other)) for offset, other in placed if other.meets(life)
        )
        offsets[life.name] = _best_gap(taken, _room(life))
        placed.append((offsets[life.name], life))
    return offsets, max((offset + _room(life) for offset, life in placed), default=0)


def allocate(manifest: Manifest) -> Dict[str, np.ndarray]:
    """An aligned array for each static tensor of a package, all in one block of memory."""
    offsets, total_bytes = place(buffer_lives(manifest))
    block = aligned_block(total_bytes)
    return {name: _view(block, offset, manifest.tensors[name]) for name, offset in offsets.items()}


def aligned_block(size_bytes: int) -> np.ndarray:
    """Zeroed bytes that start at a multiple of `ALIGNMENT_BYTES`."""
    block = np.zeros(size_bytes + ALIGNMENT_BYTES, dtype=np.uint8)
    start = -block.ctypes.data % ALIGNMENT_BYTES
    return block[start : start + size_bytes]


def _room(life: Life) -> int:
    """Bytes kept for a buffer, at least one: engines want an address for empty tensors too."""
    return -(-max(life.size_bytes, 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _best_gap(taken: Sequence[Tuple[int, int]], room: int) -> int:
    """The begin of the smallest gap of `room` bytes between ascending `taken` ranges."""
    best, least, end = -1, 0, 0
    for begin, stop in taken:
        gap = begin - end
        if gap >= room and (best < 0 or gap < least):
            best, least = end, gap
        end = max(end, stop)
    return end if best < 0 else best


def _view(block: np.ndarray, offset: int, tensor: TensorSpec) -> np.ndarray:
    flat = block[offset : offset + tensor.size_bytes].view(tensor.dtype)
    return flat.reshape(tensor.shape or ())
