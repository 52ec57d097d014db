"""The merging of groups that exchange what no caller-owned buffer can hold."""

from __future__ import annotations

from collections.abc import Iterable

from qsdnn.model.dataflow import Dataflow
from qsdnn.model.fuse import Group

Edges = list[set[int]]


def cluster(flow: Dataflow, groups: list[Group]) -> list[Group]:
    """Merges groups so that only inputs and outputs of the whole graph are not static.

    Merged groups stay convex: groups on a path between two merged ones are merged too. Groups
    that read or make a value that is not static, or an empty tensor, are pinned.
    """
    home = {node: index for index, group in enumerate(groups) for node in group.nodes}
    sets = [{index} for index in range(len(groups))]
    for value, producer in flow.producer.items():
        readers = {home[node] for node in flow.consumers.get(value, ())}
        if not flow.static[value] and readers - {home[producer]}:
            _unite(sets, readers | {home[producer]})
    _close(sets, *_edges(flow, home, len(groups)))
    unique = {id(members): members for members in sets}.values()
    merged = [_merge([groups[index] for index in sorted(members)]) for members in unique]
    for group in merged:
        _pin(flow, group)
    return sorted(merged, key=lambda group: group.nodes[0])


def _edges(flow: Dataflow, home: dict[int, int], count: int) -> tuple[Edges, Edges]:
    """The successors and the predecessors of each group."""
    after: Edges = [set() for _ in range(count)]
    before: Edges = [set() for _ in range(count)]
    for value, producer in flow.producer.items():
        for consumer in flow.consumers.get(value, ()):
            if home[consumer] != home[producer]:
                after[home[producer]].add(home[consumer])
                before[home[consumer]].add(home[producer])
    return after, before


def _unite(sets: list[set[int]], members: Iterable[int]) -> None:
    """Makes one set of all sets that hold a member; `sets[i]` is the set that holds i."""
    united = set().union(*(sets[index] for index in members))
    for index in united:
        sets[index] = united


def _close(sets: list[set[int]], after: Edges, before: Edges) -> None:
    """Merges the groups on a path from a merged set back to it, until there are none."""
    changed = True
    while changed:
        changed = False
        for members in {id(members): members for members in sets if len(members) > 1}.values():
            between = _reach(members, sets, after) & _reach(members, sets, before)
            if between - members:
                _unite(sets, between | members)
                changed = True
                break


def _reach(start: set[int], sets: list[set[int]], edges: Edges) -> set[int]:
    """The groups that can be reached; whoever enters a merged set anywhere is in all of it."""
    found: set[int] = set()
    todo = list(start)
    while todo:
        for index in edges[todo.pop()]:
            new = sets[index] - found
            found |= new
            todo += new
    return found


def _merge(groups: list[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    main = max(groups, key=lambda group: bool(group.pinned))
    return Group(
        nodes=sorted(node for group in groups for node in group.nodes),
        kind=main.kind,
        main=main.main,
        pinned="; ".join(dict.fromkeys(group.pinned for group in groups if group.pinned)),
    )


def _pin(flow: Dataflow, group: Group) -> None:
    """Sets the reason why a group with values that other engines cannot take is pinned."""
    values = dict.fromkeys(
        value for index in group.nodes for value in (*flow.inputs[index], *flow.used_outputs(index))
    )
    loose = [str(value.name) for value in values if not flow.static[value]]
    empty = [str(v.name) for v in values if flow.static[v] and 0 in (v.shape or ())]
    if loose and not group.pinned:
        group.pinned = f"'{loose[0]}' has no static shape or is no plain tensor"
    elif empty and not group.pinned:
        group.pinned = f"'{empty[0]}' is empty"
