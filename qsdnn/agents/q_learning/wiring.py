"""Wiring: which choice feels the consequences of which, along the tensors of a space."""

from __future__ import annotations

from dataclasses import dataclass

from qsdnn.space import Space

NONE = -1
"""The number that stands for a passage that does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The passages of tensors from layer to layer.

    A tensor passes from the layer that makes it to its first reader, from there to the next one,
    and so on. So each passage joins two layers, and the passages that leave a choice tell what it
    means for later ones.

    Attributes:
        passages: The number of passages.
        entering: The passages of the tensors that each layer reads, in the order of `Space.edges`.
        onward: The passage to the tensor's next reader, for each of `entering`; `NONE` after the
            last reader.
        made: The passages of the tensors that each layer makes.
        ends: The layer that each passage enters, and the passage's place in `entering` there.
    """

    passages: int
    entering: tuple[tuple[int, ...], ...]
    onward: tuple[tuple[int, ...], ...]
    made: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[int, int], ...]


def wiring_of(space: Space) -> Wiring:
    """The wiring of a space."""
    entering: list[list[int]] = [[] for _ in space.layers]
    onward: list[list[int]] = [[] for _ in space.layers]
    made: list[list[int]] = [[] for _ in space.layers]
    ends: list[tuple[int, int]] = []
    for edge in space.edges:
        readers = sorted(set(edge.consumers))
        for i, reader in enumerate(readers):
            passage = len(ends)
            ends.append((reader, len(entering[reader])))
            entering[reader].append(passage)
            onward[reader].append(passage + 1 if i + 1 < len(readers) else NONE)
            if i == 0:
                made[edge.producer].append(passage)
    return Wiring(
        passages=len(ends),
        entering=tuple(map(tuple, entering)),
        onward=tuple(map(tuple, onward)),
        made=tuple(map(tuple, made)),
        ends=tuple(ends),
    )
