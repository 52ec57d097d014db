"""Reads OpenVINO's profile: the time of each layer, its kernel and its precision."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Sequence

from qsdnn_runtime.engine import Applied

from .kernel import CONVERSIONS, Kernel
from .request import AUTO, PRECISIONS, Request

# Kinds that move values, or bring them in and out.
_MOVING = (*CONVERSIONS, "Reshape", "Input", "Const", "Output")
# Kinds that may be a layer's own work, or may turn values into integers around it.
_POINTWISE = ("Subgraph", "Eltwise", "FakeQuantize")
_WIDTHS = ("int8", "fp16", "bf16", "fp32")


class Counter(NamedTuple):
    """A performance counter: the implementation, the mean time of a run, and whether it ran."""

    implementation: str
    mean_us: float
    executed: bool


def layer_times(
    kernels: Sequence[Kernel], counters: Mapping[str, Counter], runs: int
) -> Dict[int, float]:
    """Milliseconds of each layer that has kernels, summed over `runs` runs.

    A counter is cut to whole microseconds in each run, and again when the mean is taken. Half of
    what can be lost is added back: 0.5 us for each run, and (runs - 1) / 2 us for the mean.
    """
    times: Dict[int, float] = {}
    for kernel in kernels:
        if kernel.layer is not None and _ran(kernel, counters):
            spent_us = (counters[kernel.name].mean_us + 1) * runs - 0.5
            times[kernel.layer] = times.get(kernel.layer, 0.0) + spent_us / 1e3
    return times


def applied(
    kernels: Sequence[Kernel], counters: Mapping[str, Counter], asked: Mapping[int, str]
) -> Dict[int, Applied]:
    """The primitive and the main kernel of each layer.

    Kernels that multiply and accumulate tell their algorithm, where one was asked for, and their
    precision; in a layer without such kernels, the kernels that compute at all tell the precision.
    Behind the last product of a graph the plugin goes on in fp32, whatever the graph is compiled
    for, which costs no accuracy: such a layer is reported as asked. A layer without kernels of its
    own was fused into another; an algorithm that such a layer asked for was not taken.

    Args:
        kernels: The kernels, with their layers.
        counters: The performance counters, by kernel name.
        asked: The primitive asked for, by layer index.
    """
    found: Dict[int, Applied] = {}
    for layer, primitive in asked.items():
        own = [k for k in kernels if k.layer == layer and _ran(k, counters)]
        main = _main(own)
        own.sort(key=lambda k: (k not in main, k.kind in CONVERSIONS, -counters[k.name].mean_us))
        label = "fused"
        if own:
            label = "%s(%s)" % (own[0].kind, counters[own[0].name].implementation)
        found[layer] = Applied(primitive=_primitive(Request.parse(primitive), own), kernel=label)
    return found


def _primitive(asked: Request, own: Sequence[Kernel]) -> str:
    computing = [kernel for kernel in own if kernel.computes]
    algorithm = asked.algorithm
    if asked.priority:
        took = [kernel.algorithm for kernel in computing] or [AUTO]
        algorithm = next((name for name in took if name != algorithm), algorithm)
    words = {PRECISIONS.get(kernel.precision, kernel.precision) for kernel in _main(own)}
    if not computing and asked.precision in ("bf16", "fp16"):
        words -= {"fp32"}  # the end of a graph, behind which there is no product
    widest = max(words - {asked.precision}, key=_width, default=asked.precision)
    return "openvino/%s/%s" % (algorithm, widest)


def _main(own: Sequence[Kernel]) -> Sequence[Kernel]:
    """The kernels of a layer that do the layer's own work."""
    computing = [kernel for kernel in own if kernel.computes]
    others = [kernel for kernel in own if kernel.kind not in _MOVING]
    return computing or [k for k in others if k.kind not in _POINTWISE] or others


def _width(precision: str) -> int:
    return _WIDTHS.index(precision) if precision in _WIDTHS else len(_WIDTHS)


def _ran(kernel: Kernel, counters: Mapping[str, Counter]) -> bool:
    return kernel.name in counters and counters[kernel.name].executed
