"""Payoffs: what a choice costs where it is made, learned from rewards as a sum of table entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


UNKNOWN = -1
"""The number that stands for a code that was never seen."""

Ids = list[NDArray[np.intp]]
"""The number of the code of each tensor that a layer reads, (n,) each, among those seen there."""


class Payoffs:
    """Tables of rewards, and of the codes that are seen later of a choice.

    The reward of a choice is taken to be a sum: one entry for the layer and its primitive, and for
    each tensor that the layer reads one for the tensor's code in the observation and the domain
    chosen. So what was learned from one combination of tensors tells of combinations never met.

    All entries begin at 0. Where no reward is positive that is optimistic: what has not been tried
    looks as good as the best that may be, and so is tried, if what is known is not as good.

    Args:
        space: The search space: the layers and what each may run as. It holds no cost.
        wiring: The wiring of that space.

    Attributes:
        following: The number of the code at the tensor's next reader (codes, domains), for each
            passage; `UNKNOWN` where not seen yet.
        beginning: The number of the code at the tensor's first reader (domains,), for each passage
            from the layer that makes the tensor; `UNKNOWN` where not seen yet.
        tried: Whether each domain was ever chosen at a passage's end (codes, domains), for each
            passage.
    """

    def __init__(self, space: Space, wiring: Wiring) -> None:
        self._wiring = wiring
        self._domains = len(space.domains)
        self._domain_of = space.domain_of
        layers, self._primitives = space.mask.shape
        self._used: int = layers * self._primitives
        self._entries = np.zeros(self._used)
        self._ids: list[dict[int, int]] = [{} for _ in range(wiring.passages)]
        self._base: list[list[int]] = [[] for _ in range(wiring.passages)]
        self.following = [self._unknown(0) for _ in range(wiring.passages)]
        self.beginning = [self._unknown(1)[0] for _ in range(wiring.passages)]
        self.tried = [np.zeros((0, self._domains), dtype=np.bool_) for _ in range(wiring.passages)]
        # The entries of one episode lie side by side, a layer's first one at `_starts`.
        self._terms = np.array([1 + len(entering) for entering in wiring.entering])
        self._starts = np.concatenate([[0], np.cumsum(self._terms)[:-1]])
        self.forget_episodes()

    def __len__(self) -> int:
        return self._used

    def forget_episodes(self) -> None:
        """Forgets the episodes, which are not replayed any more; keeps what was learned of them."""
        self._episodes: list[NDArray[np.int32]] = []
        self._rewards: list[NDArray[np.float64]] = []

    def ids(self, layer: int, observations: NDArray[np.int64]) -> Ids:
        """The codes of the tensors that a layer reads, which come first in its observations."""
        return [
            self._numbered(passage, observations[:, 1 + place].tolist())
            for place, passage in enumerate(self._wiring.entering[layer])
        ]

    def own(self) -> NDArray[np.float64]:
        """The entries of the layers (layers, primitives), as a view."""
        return self._entries[: len(self._terms) * self._primitives].reshape(-1, self._primitives)

    def crossing(self, passage: int) -> NDArray[np.float64]:
        """The entries of a tensor where a passage ends (codes, domains)."""
        base = np.array(self._base[passage], dtype=np.intp)
        return np.asarray(self._entries[base[:, None] + np.arange(self._domains)])

    def record(
        self, ids: Sequence[Ids], actions: NDArray[np.int64], rewards: NDArray[np.float64]
    ) -> None:
        """Remembers episodes: the codes met at each layer, actions and rewards (n, layers)."""
        domains = self._domain_of[actions]
        entries = np.empty((len(actions), int(self._terms.sum())), dtype=np.int32)
        for layer, (met, start) in enumerate(zip(ids, self._starts.tolist(), strict=True)):
            entries[:, start] = layer * self._primitives + actions[:, layer]
            chosen = domains[:, layer]
            for passage in self._wiring.made[layer]:
                self.beginning[passage][chosen] = self._at_end(passage, ids)
            for place, passage in enumerate(self._wiring.entering[layer]):
                base = np.array(self._base[passage], dtype=np.int32)
                entries[:, start + 1 + place] = base[met[place]] + chosen
                self.tried[passage][met[place], chosen] = True
                onward = self._wiring.onward[layer][place]
                if onward != NONE:
                    self.following[passage][met[place], chosen] = self._at_end(onward, ids)
        self._episodes += list(entries)
        self._rewards += list(rewards)

    def replay(self, fresh: int, again: int, alpha: float, rng: np.random.Generator) -> None:
        """Learns from the latest episodes, and once more from some drawn from all.

        What a layer's entries miss the reward by is shared among them: Q-learning's step for a
        value that is a sum, here with no later value, as those are no part of the tables. With α of
        1 it is Kaczmarz's projection, which converges to entries that explain every reward.

        Args:
            fresh: The number of the latest episodes to learn from.
            again: The number of episodes that are drawn.
            alpha: The learning rate.
            rng: The generator that draws the episodes.
        """
        total = len(self._episodes)
        drawn = rng.integers(total, size=again).tolist()
        for episode in [*range(total - fresh, total), *drawn]:
            at = self._episodes[episode]
            missing = self._rewards[episode] - np.add.reduceat(self._entries[at], self._starts)
            self._entries[at] += np.repeat(alpha * missing / self._terms, self._terms)

    def _at_end(self, passage: int, ids: Sequence[Ids]) -> NDArray[np.intp]:
        layer, place = self._wiring.ends[passage]
        return ids[layer][place]

    def _numbered(self, passage: int, codes: list[int]) -> NDArray[np.intp]:
        ids = self._ids[passage]
        numbers = [ids.setdefault(code, len(ids)) for code in codes]
        fresh = len(ids) - len(self._base[passage])
        if fresh:
            self._grow(passage, fresh)
        return np.array(numbers, dtype=np.intp)

    def _grow(self, passage: int, fresh: int) -> None:
        """Makes room for codes that were not seen before."""
        begin, self._used = self._used, self._used + fresh * self._domains
        if self._used > len(self._entries):
            room = np.zeros(max(self._used - len(self._entries), len(self._entries)))
            self._entries = np.concatenate([self._entries, room])
        self._base[passage] += range(begin, self._used, self._domains)
        self.following[passage] = np.concatenate([self.following[passage], self._unknown(fresh)])
        untried = np.zeros((fresh, self._domains), dtype=np.bool_)
        self.tried[passage] = np.concatenate([self.tried[passage], untried])

    def _unknown(self, rows: int) -> NDArray[np.intp]:
        return np.full((rows, self._domains), UNKNOWN, dtype=np.intp)
