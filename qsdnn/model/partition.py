"""Partition: the fewest convex segments that honour a choice of families.

A sequence of segments is legal when each reads only what earlier ones made. Every such sequence is
a chain of downsets ∅ = S₀ ⊂ S₁ ⊂ … of the layer graph in which Sᵢ₊₁ − Sᵢ is of one family; the
difference of two downsets is convex and the chain orders the segments, so there is no cycle
whatever the choice.

For a given sequence of families it never pays to take less than all that can run: a larger downset
stays larger under the same continuation. The fewest segments are therefore a shortest path over
downsets whose steps are "run all of family f that can run", found breadth first.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

BEAM = 256
"""The downsets kept a step. Real networks stay far below it; past it the result is near-fewest."""


def partition(
    predecessors: Sequence[Sequence[int]], families: Sequence[Hashable]
) -> list[tuple[int, ...]]:
    """Groups layers into the fewest convex segments of one family each.

    Args:
        predecessors: The indices of the layers that each layer reads, all smaller than its own.
        families: The family of each layer.

    Returns:
        The segments in execution order; each holds ascending layer indices.
    """
    count = len(families)
    everything = (1 << count) - 1
    needs = [sum(1 << p for p in set(before)) for before in predecessors]
    level: dict[int, tuple[int, ...]] = {0: ()}
    while everything not in level:
        reached: dict[int, tuple[int, ...]] = {}
        for done, path in level.items():
            for grown in _steps(done, needs, families):
                reached.setdefault(grown, (*path, done))
        level = _undominated(reached)
    chain = (*level[everything], everything)
    return [_members(after & ~before) for before, after in itertools.pairwise(chain)]


def _steps(done: int, needs: Sequence[int], families: Sequence[Hashable]) -> list[int]:
    """The downsets one segment further: one for each family that has a layer ready."""
    start = (~done & (done + 1)).bit_length() - 1  # all layers below it are done
    ready = [i for i in range(start, len(needs)) if not done >> i & 1 and needs[i] & ~done == 0]
    grown = []
    for family in dict.fromkeys(families[i] for i in ready):
        reach = done
        for i in range(start, len(needs)):
            if families[i] == family and not reach >> i & 1 and needs[i] & ~reach == 0:
                reach |= 1 << i
        grown.append(reach)
    return grown


def _undominated(reached: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Drops every downset that is part of another: the larger one is never worse."""
    kept: dict[int, tuple[int, ...]] = {}
    for done in sorted(reached, key=int.bit_count, reverse=True):
        if len(kept) == BEAM:
            break
        if not any(done & ~larger == 0 for larger in kept):
            kept[done] = reached[done]
    return kept


def _members(bits: int) -> tuple[int, ...]:
    return tuple(i for i in range(bits.bit_length()) if bits >> i & 1)
