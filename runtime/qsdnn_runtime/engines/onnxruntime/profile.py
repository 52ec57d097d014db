"""Reads onnxruntime's profile: the time of each layer, and the kernels that ran for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from qsdnn_runtime.engine import Applied

from .library import CPU

_KERNEL = "_kernel_time"
_BLOCKED = "_nchwc"
_NORM = "_bn_nchwc"
_NODE = re.compile(r"\d+:\d+")
# Operators that the optimizer inserts to change a tensor's layout or type; their names say nothing.
_CONVERSIONS = (
    *("ReorderInput", "ReorderOutput", "Transpose", "Cast"),
    *("MemcpyToHost", "MemcpyFromHost"),
)
# Operators that the host half puts around an integer layer; most of them are fused into the layer.
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "Identity")
_INTEGERS = ("uint8", "int8")
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather")
_PRODUCTS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


@dataclass
class Kernel:
    """One node of the optimized graph, over all runs.

    Attributes:
        name: The name of the node, after optimization.
        kind: The operator of the node.
        provider: The name of the execution provider that ran the node.
        reads: The types and shapes of the inputs, as the profile has them.
        writes: The types and shapes of the outputs.
        runs: The number of runs.
        time_us: The sum over the runs that count.
        layer: The layer that the kernel belongs to; None while not known.
        inserted: Whether the optimizer inserted the node, to change a layout or a type.
    """

    name: str
    kind: str
    provider: str = CPU
    reads: List[Any] = field(default_factory=list)
    writes: List[Any] = field(default_factory=list)
    runs: int = 0
    time_us: float = 0.0
    layer: Optional[int] = None
    inserted: bool = False

    @property
    def blocked(self) -> bool:
        """Whether the kernel is one of the NCHWc layout."""
        return self.name.endswith(_BLOCKED)

    @property
    def quantizes(self) -> bool:
        """Whether the kernel only turns values into integers or the other way round."""
        return self.kind in _QUANTIZERS

    @property
    def integer(self) -> bool:
        """Whether the kernel computes in integers of eight bits."""
        types = {name for read in self.reads for name in read}
        return not self.quantizes and not types.isdisjoint(_INTEGERS)

    @property
    def label(self) -> str:
        """The kernel's operator, with the layout or type where its name does not say that."""
        if self.integer and not self.kind.startswith(("Q", "MatMulInteger")):
            return self.kind + "(u8)"
        return self.kind + "(nchwc)" if self.blocked else self.kind


def read_kernels(events: Sequence[Mapping[str, Any]], skip: int = 0) -> List[Kernel]:
    """The kernels of a profile, in order of execution.

    Nodes inside the branches of an If or the body of a Loop are part of that node's time, and
    are left out.

    Args:
        events: The profile's JSON. A run's kernels follow one another, as execution is sequential.
        skip: The number of runs at the beginning that are not counted.
    """
    kernels: Dict[Tuple[str, Any], Kernel] = {}
    end_us = -1
    timed = [e for e in events if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]
    for event in sorted(timed, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] < end_us:
            continue
        end_us = event["ts"] + event["dur"]
        name = event["name"][: -len(_KERNEL)]
        key = (name, event["args"].get("node_index"))
        kernel = kernels.setdefault(key, _kernel(name, event["args"]))
        kernel.runs += 1
        if kernel.runs > skip:
            kernel.time_us += event["dur"] + 0.5  # the duration is cut to whole microseconds
    return list(kernels.values())


def assign(kernels: Sequence[Kernel], nodes: Mapping[str, int], tensors: Mapping[str, int]) -> None:
    """Finds the layer of each kernel.

    A kernel that keeps a name is found by it: a node's own (``3:0``), perhaps with what an
    optimizer appended (``3:1/QuickGeluFusion/``), or that of the tensor it makes
    (``conv1_out_nchwc``). A conversion that was inserted belongs to the layer that made the tensor:
    that of the nearest earlier kernel with an output of the type and shape that the conversion
    reads. Any other kernel belongs to the first layer without kernels between its neighbours in
    time, or else to the layer before it.
    """
    for kernel in kernels:
        if kernel.name.endswith(_NORM) and kernel.name[: -len(_NORM)] in tensors:
            # A batch norm between blocked layers becomes a depthwise 1x1 convolution.
            kernel.name = kernel.name[: -len(_NORM)] + _BLOCKED
            kernel.kind = "BatchNormalization"
        kernel.layer = _by_name(kernel.name, nodes, tensors)
        kernel.inserted = kernel.layer is None and kernel.kind in _CONVERSIONS
    for position, kernel in enumerate(kernels):
        if kernel.inserted:
            kernel.layer = _by_source(kernels, position)
    layers = {*nodes.values(), *tensors.values()}
    for position, kernel in enumerate(kernels):
        if kernel.layer is None:
            kernel.layer = _by_time(kernels, position, layers)


def layer_times(kernels: Sequence[Kernel]) -> Dict[int, float]:
    """Milliseconds of each layer that has kernels."""
    times: Dict[int, float] = {}
    for kernel in kernels:
        if kernel.layer is not None:
            times[kernel.layer] = times.get(kernel.layer, 0.0) + kernel.time_us / 1e3
    return times


def applied(
    kernels: Sequence[Kernel], asked: Mapping[int, str], provider: str = CPU
) -> Dict[int, Applied]:
    """The primitive and the kernels of each layer, in order of execution.

    Integer kernels tell that they are such, and convolutions whether they ran blocked. Other layers
    run alike whatever fp32 algorithm was asked for, so that the primitive asked for is reported. A
    layer without kernels was fused into another.

    Args:
        kernels: The kernels, with their layers assigned.
        asked: The primitive asked for, by layer index.
        provider: The execution provider asked for; kernels on another one are reported as the
            CPU's.
    """
    found: Dict[int, Applied] = {}
    for layer, primitive in asked.items():
        own = [kernel for kernel in kernels if kernel.layer == layer]
        own = [kernel for kernel in own if not kernel.inserted] or own
        own = [kernel for kernel in own if not kernel.quantizes] or own
        labels = dict.fromkeys(kernel.label for kernel in own)
        if provider != CPU and all(kernel.provider == provider for kernel in own):
            found[layer] = Applied(primitive, ", ".join(labels) or "fused")
        else:
            found[layer] = Applied(_primitive(own, primitive), ", ".join(labels) or "fused")
    return found


def _primitive(kernels: Sequence[Kernel], asked: str) -> str:
    """The primitive that the kernels of a layer amount to."""
    products = [kernel for kernel in kernels if kernel.kind in _PRODUCTS and not kernel.integer]
    integers = [kernel for kernel in kernels if kernel.integer]
    if not asked.endswith("/int8"):  # moving values before or after DQ makes no difference
        integers = [kernel for kernel in integers if kernel.kind not in _MOVES]
    if integers and not products:
        return "onnxruntime/int8/int8"
    convolutions = [kernel for kernel in products if kernel.kind.endswith("Conv")]
    if convolutions:
        return "onnxruntime/%s/fp32" % ("nchwc" if convolutions[-1].blocked else "gemm")
    known = asked.split("/")[1] in ("nchwc", "gemm") or not kernels
    return asked if known else "onnxruntime/gemm/fp32"


def _kernel(name: str, about: Mapping[str, Any]) -> Kernel:
    return Kernel(
        name=name,
        kind=about.get("op_name", ""),
        provider=about.get("provider", CPU),
        reads=about.get("input_type_shape", []),
        writes=about.get("output_type_shape", []),
    )


def _by_name(name: str, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> Optional[int]:
    if name.endswith(_BLOCKED) and name[: -len(_BLOCKED)] in tensors:
        return tensors[name[: -len(_BLOCKED)]]
    if name in nodes:
        return nodes[name]
    found = [nodes[node] for node in _NODE.findall(name) if node in nodes]
    return found[0] if found else None


def _by_source(kernels: Sequence[Kernel], position: int) -> Optional[int]:
    read = kernels[position].reads[:1]
    for kernel in reversed(kernels[:position]):
        if read and read[0] in kernel.writes and kernel.layer is not None:
            return kernel.layer
    return None


def _by_time(kernels: Sequence[Kernel], position: int, layers: Set[int]) -> Optional[int]:
    """A layer without kernels between the neighbours; a quantizer comes before its layer."""
    known = [k.layer is not None and not k.quantizes for k in kernels]
    before = next(
        (k.layer for k, ok in zip(kernels[position::-1], known[position::-1]) if ok), None
    )
    after = next((k.layer for k, ok in zip(kernels[position:], known[position:]) if ok), None)
    if not kernels[position].inserted:
        unseen = layers - {k.layer for k, ok in zip(kernels, known) if ok and k.layer is not None}
        first = -1 if before is None else before
        last = max(layers, default=0) + 1 if after is None else after
        between = [layer for layer in unseen if first < layer < last]
        if between:
            return min(between)
    return after if before is None else before
