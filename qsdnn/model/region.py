"""Activations that exporters write out: SiLU, hard-swish, GELU, Mish as several nodes."""

from __future__ import annotations

import onnx_ir as ir

from qsdnn.model.dataflow import Dataflow
from qsdnn.model.operators import ELEMENTWISE

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
