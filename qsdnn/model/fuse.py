"""The groups of nodes that an engine runs as one, e.g. a convolution, its sum and activation.

Every group has one exit: only its last unit's outputs are read outside it. So a path that leaves
a group cannot come back into it, groups are convex, and the graph of groups has no cycle.
Activations that exporters write out as several nodes are found first: SiLU, hard-swish, GELU, Mish.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from qsdnn.model.dataflow import Dataflow
from qsdnn.model.operators import (
    ACTIVATIONS,
    ANCHORS,
    ELEMENTWISE,
    RESIDUALS,
    SCALES,
    VIEWS,
    kind_of,
    pin_of,
)

# What engines take after a convolution or a product: Conv + Add + Relu, Conv + Relu + Add + Relu.
_MAX_RESIDUALS = 1
_MAX_ACTIVATIONS = {True: 2, False: 1}  # by whether the main node is an anchor


@dataclass(eq=False)
class Group:
    """The nodes that make one layer.

    Attributes:
        nodes: The indices into `Dataflow.nodes`, ascending once `fuse` has returned.
        kind: The kind of the layer.
        main: The index of the node that the group is about.
        pinned: The reason why only onnxruntime may run the group; empty when any engine may.
    """

    nodes: list[int]
    kind: str
    main: int
    pinned: str = ""


@dataclass(eq=False)
class _Growing(Group):
    """A group that later nodes may still join."""

    tail: int = 0
    residuals: int = 0
    activations: int = 0
    floating: bool = False  # made of views or constants: goes to its consumer if that is one


@dataclass(frozen=True)
class _Unit:
    """One node, or the nodes of a written-out activation.

    `inputs` are the activations that the unit reads from outside, `members` the indices of its
    nodes.
    """

    members: tuple[int, ...]
    inputs: tuple[ir.Value, ...]
    role: str  # activation | view | scale | residual | main
    member_set: set[int] = field(compare=False)

    @property
    def last(self) -> int:
        return self.members[-1]


def fuse(flow: Dataflow) -> list[Group]:
    """Groups every node; each group is convex and the graph of groups acyclic.

    Args:
        flow: The nodes in topological order, with shapes inferred.
    """
    groups: dict[int, _Growing] = {}
    for unit in _units(flow):
        group = _host(flow, unit, groups)
        if group is None:
            group = _start(flow, unit)
        else:
            _join(group, unit)
        for floating in list(_floating(flow, unit, group, groups)):
            group.nodes += floating.nodes
            groups.update(dict.fromkeys(floating.nodes, group))
        groups.update(dict.fromkeys(unit.members, group))
    found = list(dict.fromkeys(groups.values()))
    for group in found:
        group.nodes.sort()
    return sorted(found, key=lambda group: group.nodes[0])


def _units(flow: Dataflow) -> Iterator[_Unit]:
    """The units in the order of their last node, which is topological."""
    regions = {region[-1]: region for region in find_regions(flow)}
    hidden = {index for region in regions.values() for index in region[:-1]}
    for index in range(len(flow.nodes)):
        if index in regions:
            members = regions[index]
            made = {value for i in members for value in flow.nodes[i].outputs}
            entries = dict.fromkeys(v for i in members for v in flow.inputs[i] if v not in made)
            yield _Unit(members, tuple(entries), "activation", set(members))
        elif index not in hidden:
            yield _Unit((index,), flow.inputs[index], _role(flow, index), {index})


def _role(flow: Dataflow, index: int) -> str:
    """The role that a node can have in the layer that makes its input."""
    node, inputs = flow.nodes[index], flow.inputs[index]
    if pin_of(node) or len(flow.used_outputs(index)) != 1 or not inputs:
        return "main"
    if len(inputs) == 1:
        if node.op_type in VIEWS:
            return "view"
        if node.op_type in ACTIVATIONS:
            return "activation"
        return "scale" if node.op_type in SCALES else "main"
    return "residual" if node.op_type in RESIDUALS else "main"


def _host(flow: Dataflow, unit: _Unit, groups: dict[int, _Growing]) -> _Growing | None:
    """The group that a unit continues: of several, the one that is complete last; None for none."""
    hosts = []
    for value in unit.inputs:
        producer = flow.producer.get(value)
        if producer is None or not flow.is_inside(value, unit.member_set):
            continue
        group = groups[producer]
        if group.tail == producer and _takes(flow, group, unit, value):
            hosts.append(group)
    return max(hosts, key=lambda group: group.tail, default=None)


def _takes(flow: Dataflow, group: _Growing, unit: _Unit, value: ir.Value) -> bool:
    if group.pinned or group.floating or len(flow.used_outputs(group.tail)) > 1:
        return False
    if not flow.static[value] or unit.role == "main":
        return False
    if unit.role == "view":
        return True
    if value.shape != flow.nodes[unit.last].outputs[0].shape:
        return False  # broadcast: a gate on a larger tensor is not this layer's tail
    anchored = group.kind in ANCHORS
    if unit.role == "activation":
        return group.activations < _MAX_ACTIVATIONS[anchored]
    if unit.role == "residual":
        return anchored and group.residuals < _MAX_RESIDUALS
    return anchored


def _join(group: _Growing, unit: _Unit) -> None:
    group.nodes += unit.members
    group.tail = unit.last
    group.activations += unit.role == "activation"
    group.residuals += unit.role == "residual"


def _start(flow: Dataflow, unit: _Unit) -> _Growing:
    node = flow.nodes[unit.last]
    pinned = "; ".join(filter(None, dict.fromkeys(pin_of(flow.nodes[i]) for i in unit.members)))
    return _Growing(
        nodes=list(unit.members),
        kind=kind_of(node) if len(unit.members) == 1 else "activation",
        main=unit.last,
        pinned=pinned,
        tail=unit.last,
        floating=not pinned and (unit.role == "view" or not unit.inputs),
    )


def _floating(
    flow: Dataflow, unit: _Unit, group: _Growing, groups: dict[int, _Growing]
) -> Iterator[_Growing]:
    """The groups of views and constants that only this unit reads."""
    if group.pinned:
        return
    for value in unit.inputs:
        producer = flow.producer.get(value)
        if producer is None or not groups[producer].floating or groups[producer] is group:
            continue
        alone = len(flow.used_outputs(producer)) == 1
        if alone and flow.static[value] and flow.is_inside(value, unit.member_set):
            yield groups[producer]


# GELU by tanh takes nine nodes; longer regions are no activation.
_MAX_NODES = 12


def find_regions(flow: Dataflow) -> list[tuple[int, ...]]:
    """The sets of element-wise nodes with one activation coming in and one going out.

    A region starts where one value has forked and its branches meet, e.g. ``Mul(x, Sigmoid(x))``,
    and reaches back to the fork; `x` may have other readers. Inside, nothing is read from
    elsewhere, and all shapes are equal. Regions are disjoint, nodes in topological order.
    """
    region_of: dict[int, tuple[int, ...]] = {}
    for index in range(len(flow.nodes)):
        if _is_elementwise(flow, index) and len(flow.inputs[index]) > 1:
            region = _grow(flow, index, region_of)
            region_of.update(dict.fromkeys(region, region))
    return sorted(set(region_of.values()))


def _grow(flow: Dataflow, last: int, region_of: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    """The region that ends in a node; empty when there is none."""
    region = {last}
    while len(region) <= _MAX_NODES:
        entries = {v for i in region for v in flow.inputs[i] if flow.producer.get(v) not in region}
        if len(entries) == 1:
            return _with_scale(flow, region)
        inside = [v for v in entries if _may_join(flow, v, region)]
        if not inside:
            return ()
        newest = max(flow.producer[value] for value in inside)
        region |= set(region_of.get(newest, (newest,)))
    return ()


def _may_join(flow: Dataflow, value: ir.Value, region: set[int]) -> bool:
    producer = flow.producer.get(value)
    return (
        producer is not None and _is_elementwise(flow, producer) and flow.is_inside(value, region)
    )


def _with_scale(flow: Dataflow, region: set[int]) -> tuple[int, ...]:
    """The region with a constant factor at its end: GELU's ½ and hard-swish's ⅙ may come last."""
    output = flow.nodes[max(region)].outputs[0]
    readers = flow.consumers.get(output, ())
    if len(readers) == 1 and output not in flow.kept:
        (reader,) = readers
        scales = flow.nodes[reader].op_type in ("Mul", "Div")
        if scales and len(flow.inputs[reader]) == 1 and _is_elementwise(flow, reader):
            region = region | {reader}
    return tuple(sorted(region))


def _is_elementwise(flow: Dataflow, index: int) -> bool:
    """Whether a node maps activations of one shape to that shape."""
    node = flow.nodes[index]
    if node.op_type not in ELEMENTWISE or node.domain not in ("", "ai.onnx"):
        return False
    shape = node.outputs[0].shape
    return (
        bool(flow.inputs[index])
        and flow.static.get(node.outputs[0], False)
        and all(flow.static[value] and value.shape == shape for value in flow.inputs[index])
    )
