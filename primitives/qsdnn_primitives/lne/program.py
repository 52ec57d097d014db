"""A program for the board: steps with their arguments, weights, and the memory that they need."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.files import write_content, write_pieces
from qsdnn_primitives.lne.kernel import KERNELS
from qsdnn_primitives.lne.tensor import ALIGNMENT, Tensor

SCHEMA = "qsdnn.lne/1"

ARENA, WEIGHTS = "", "*"
"""The regions of a program's own memory, as the board half names them."""

SMALL = "**"
"""The region of small weights, until it is known how large the others are."""

LARGE = 1 << 16
"""The floats from which weights have a file of their own: plans of other choices share it."""

Weights = NDArray[np.float32]


@dataclass(eq=False, slots=True, kw_only=True)
class Packed:
    """Weights that are put in order only when no file has them yet.

    Attributes:
        key: What they are: equal keys of one network are the same weights.
        size: The number of floats.
        make: A function that puts them in order, part after part.
    """

    key: tuple[Hashable, ...]
    size: int
    make: Callable[[], Iterable[Weights]]


Value = Tensor | Weights | Packed | tuple[Tensor | Weights, int] | int | float | None


@dataclass(eq=False, slots=True, kw_only=True)
class Step:
    """One call of a kernel.

    Attributes:
        kernel: The name of the kernel.
        layer: The index of the layer that it belongs to.
        reads: The tensors that it reads.
        writes: The tensors that it writes.
        arguments: A function that gives the values of the arguments, called once all halos are
            known. A place is a tensor or weights, or either with an offset in floats.
        scratch: The floats of scratch memory that each thread needs.
    """

    kernel: str
    layer: int
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    arguments: Callable[[], Mapping[str, Value]]
    scratch: Callable[[], int] = lambda: 0


def write_program(
    steps: Sequence[Step],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    library: str,
    folder: Path,
    known: MutableMapping[tuple[Hashable, ...], str],
    *,
    cleared: bool = False,
) -> list[str]:
    """Writes a program and its weights.

    Args:
        steps: The steps, in order.
        inputs: The shapes of the caller's inputs, as they lie in memory, by name.
        outputs: The same of the outputs.
        library: The name of the compiled kernels' file, in the folder.
        folder: The folder to write to.
        known: The names of the files that weights were written to before, by key; more are added.
        cleared: Whether the steps write the zeros of halos themselves: see `clear`.

    Returns:
        The names of the files, the program first.
    """
    places, size = place(steps, cleared=cleared)
    weights = _Weights(folder, known)
    words = [_words(step, places, weights) for step in steps]
    for step in words:
        for slot in step:
            if isinstance(slot, list) and slot[0] == SMALL:
                slot[:] = [WEIGHTS, weights.large_size + slot[1]]
    names = weights.write()
    document = {
        "schema": SCHEMA,
        "library": library,
        "weights": names,
        "arena": size,
        "scratch": max((step.scratch() for step in steps), default=0),
        "inputs": {name: list(shape) for name, shape in inputs.items()},
        "outputs": {name: list(shape) for name, shape in outputs.items()},
        "steps": words,
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return [write_content(content, ".json", folder), library, *dict.fromkeys(names)]


def clear(steps: Sequence[Step]) -> list[Step]:
    """Steps with one before the first use of each tensor with a halo that makes all of it zeros."""
    found: list[Step] = []
    known: set[Tensor] = set()
    for step in steps:
        for tensor in (*step.reads, *step.writes):
            root = tensor.root
            if root.geometry and root not in known:
                known.add(root)
                found.append(_zeros(root, step.layer))
        found.append(step)
    return found


def _zeros(root: Tensor, layer: int) -> Step:
    def arguments() -> Mapping[str, Value]:
        return {"y": (root, -root.offset), "count": root.floats}

    return Step(kernel="fill", layer=layer, reads=(), writes=(root,), arguments=arguments)


def place(steps: Sequence[Step], *, cleared: bool = False) -> tuple[dict[Tensor, int], int]:
    """Where each root lies in the arena, in floats; and the arena's size.

    A tensor with a halo shares memory only with tensors of the same geometry, so that its zeros
    stay, unless the steps write these zeros each time. All others share memory where their lives do
    not overlap, the largest placed first.
    """
    lives = _lives(steps)
    offsets: dict[Tensor, int] = {}
    size = 0
    free: dict[tuple[int, ...], list[tuple[int, int]]] = {}  # until when taken, where
    for tensor, (first, last) in sorted(lives.items(), key=lambda item: item[1]):
        if cleared or not tensor.geometry:
            continue
        shared = free.setdefault(tensor.geometry, [])
        at = next((i for i, (until, _) in enumerate(shared) if until < first), None)
        if at is None:
            shared.append((last, size))
            offsets[tensor] = size
            size += _aligned(tensor.floats)
        else:
            offsets[tensor] = shared[at][1]
            shared[at] = (last, shared[at][1])
    base, taken = size, list[tuple[int, int, int, int]]()  # start, end, first, last
    plain = [item for item in lives.items() if cleared or not item[0].geometry]
    for tensor, (first, last) in sorted(plain, key=lambda item: (-item[0].floats, item[1])):
        need, at = _aligned(tensor.floats), base
        for start, end, since, until in sorted(taken):
            if since <= last and first <= until and at < end and start < at + need:
                at = end
        offsets[tensor] = at
        taken.append((at, at + need, first, last))
        size = max(size, at + need)
    return offsets, size


def _lives(steps: Sequence[Step]) -> dict[Tensor, tuple[int, int]]:
    """The first and last step of each root that has memory of the program."""
    lives: dict[Tensor, tuple[int, int]] = {}
    for position, step in enumerate(steps):
        for tensor in (*step.reads, *step.writes):
            root = tensor.root
            if not root.buffer:
                lives[root] = (lives.get(root, (position, 0))[0], position)
    return lives


class _Weights:
    """The weights of a program: a file for each large part, and one for all small ones.

    On the board the files lie one after another.
    """

    def __init__(self, folder: Path, known: MutableMapping[tuple[Hashable, ...], str]) -> None:
        self._folder = folder
        self._known = known
        self._small: list[Weights] = []
        self._offsets: dict[object, int] = {}
        self._files: list[str] = []
        self._large_size = 0
        self._small_size = 0

    def place(self, weights: Weights | Packed) -> tuple[str, int]:
        """The region and the offset of weights, in floats; the same ones lie there once."""
        if isinstance(weights, Packed) and weights.size >= LARGE:
            if weights.key not in self._offsets:
                self._offsets[weights.key] = self._large_size
                self._files.append(self._file(weights))
                self._large_size += _aligned(weights.size)
            return WEIGHTS, self._offsets[weights.key]
        key = weights.key if isinstance(weights, Packed) else id(weights)
        if key not in self._offsets:
            made = _joined(weights) if isinstance(weights, Packed) else weights
            self._offsets[key] = self._small_size
            self._small.append(made)  # which keeps the identity of an array its own
            self._small_size += _aligned(made.size)
        return SMALL, self._offsets[key]

    def write(self) -> list[str]:
        """Writes the small ones; the names of all files, those of large parts first."""
        if not self._small:
            return self._files
        whole = np.zeros(self._small_size, np.float32)
        start = 0
        for part in self._small:
            whole[start : start + part.size] = part.reshape(-1)
            start += _aligned(part.size)
        return [*self._files, write_content(whole.tobytes(), ".bin", self._folder)]

    @property
    def large_size(self) -> int:
        """Where the small ones begin, in floats."""
        return self._large_size

    def _file(self, weights: Packed) -> str:
        name = self._known.get(weights.key)
        if name is None or not (self._folder / name).exists():
            room = np.zeros(_aligned(weights.size) - weights.size, np.float32)
            parts = (np.ascontiguousarray(part).data.cast("B") for part in weights.make())
            name = write_pieces(chain(parts, [room.tobytes()]), ".bin", self._folder)
            self._known[weights.key] = name
        return name


def _joined(weights: Packed) -> Weights:
    return np.concatenate([part.reshape(-1) for part in weights.make()])


def _words(step: Step, places: Mapping[Tensor, int], weights: _Weights) -> list[Any]:
    """A step as JSON: kernel, layer, then arguments; a place is a pair of a region and floats."""
    values = step.arguments()
    fields = KERNELS[step.kernel]
    unknown = {*values} - {*fields}
    assert not unknown, f"{step.kernel} has no {unknown}"
    slots = []
    for name, kind in fields.items():
        value = values.get(name)
        if kind == "p":
            slots.append(_place(value, places, weights))
        elif kind == "f":
            slots.append(struct.unpack("<I", struct.pack("<f", _number(value)))[0])
        else:
            slots.append(int(_number(value)))
    return [list(KERNELS).index(step.kernel), step.layer, *slots]


def _number(value: Value) -> float | int:
    if value is None:
        return 0
    assert isinstance(value, (int, float, np.integer, np.floating)), value
    return value


def _place(value: Value, places: Mapping[Tensor, int], weights: _Weights) -> Any:
    """A region and an offset in floats; 0 for no place at all."""
    if value is None:
        return 0
    thing, extra = value if isinstance(value, tuple) else (value, 0)
    if isinstance(thing, Tensor):
        root = thing.root
        if root.buffer:
            return [root.buffer, thing.offset + extra]
        return [ARENA, places[root] + thing.offset + extra]
    assert isinstance(thing, (np.ndarray, Packed))
    region, offset = weights.place(thing)
    return [region, offset + extra]


def _aligned(floats: int) -> int:
    return -(-floats // ALIGNMENT) * ALIGNMENT
