"""The order that layers run in."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def topological_order(predecessors: Sequence[Collection[int]]) -> list[int]:
    """A topological order that walks a branch to its end before it starts the next.

    The item that became ready last runs first, so few tensors wait to be read at any time. Of
    several that become ready together the first by index runs first: the order is deterministic.

    Args:
        predecessors: The items that come before each item.

    Raises:
        ValueError: The items form a cycle.
    """
    successors: list[list[int]] = [[] for _ in predecessors]
    waiting = [len(set(before)) for before in predecessors]
    for item, before in enumerate(predecessors):
        for other in set(before):
            successors[other].append(item)
    ready = [item for item in reversed(range(len(waiting))) if not waiting[item]]
    order: list[int] = []
    while ready:
        item = ready.pop()
        order.append(item)
        for successor in reversed(successors[item]):
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    if len(order) != len(waiting):
        raise ValueError("the graph has a cycle")
    return order
