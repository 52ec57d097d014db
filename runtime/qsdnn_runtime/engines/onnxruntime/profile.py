"""What onnxruntime's profile says of each layer: its time, and the kernels that ran."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from qsdnn_runtime.engine import Applied

from .providers import CPU

_KERNEL = "_kernel_time"
_BLOCKED = "_nchwc"
_NORM = "_bn_nchwc"
_NODE = re.compile(r"\d+:\d+")
# Inserted by the optimizer to change a tensor's layout or type; their names say nothing.
_CONVERSIONS = (
    *("ReorderInput", "ReorderOutput", "Transpose", "Cast"),
    *("MemcpyToHost", "MemcpyFromHost"),
)
# The host half puts these around what is to run in integers; most of them are fused into it.
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "Identity")
_INTEGERS = ("uint8", "int8")
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather")
_PRODUCTS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


@dataclass
class Kernel:
    """One node of the optimized graph, over all runs.

    Attributes:
        name: The node's, after optimization.
        kind: Its operator.
        provider: Which execution provider ran it.
        reads: Type and shape of its inputs, as the profile has them.
        writes: Type and shape of its outputs.
        runs: How often it ran.
        time_us: Sum over the runs that count.
        layer: Which layer it belongs to, once known.
        inserted: Whether the optimizer put it in, to change a layout or a type.
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
        """Whether it is a kernel of the NCHWc layout."""
        return self.name.endswith(_BLOCKED)

    @property
    def quantizes(self) -> bool:
        """Whether it makes integers of values or the other way round, and nothing else."""
        return self.kind in _QUANTIZERS

    @property
    def integer(self) -> bool:
        """Whether it computes in integers of eight bits."""
        types = {name for read in self.reads for name in read}
        return not self.quantizes and not types.isdisjoint(_INTEGERS)

    @property
    def label(self) -> str:
        """Its operator, and the layout or type where its name does not say it."""
        if self.integer and not self.kind.startswith(("Q", "MatMulInteger")):
            return self.kind + "(u8)"
        return self.kind + "(nchwc)" if self.blocked else self.kind


def read_kernels(events: Sequence[Mapping[str, Any]], skip: int = 0) -> List[Kernel]:
    """The kernels of a profile, in order of execution.

    Nodes inside the branches of an If or the body of a Loop are part of that node's time, and
    are left out.

    Args:
        events: The profile's JSON. One run's kernels follow one another: execution is sequential.
        skip: How many runs at the beginning are not counted.
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
            kernel.time_us += event["dur"] + 0.5  # it is cut to whole microseconds
    return list(kernels.values())


def assign(kernels: Sequence[Kernel], nodes: Mapping[str, int], tensors: Mapping[str, int]) -> None:
    """Finds the layer of each kernel.

    By name where it keeps one: a node's own (``3:0``), with what an optimizer hung on it
    (``3:1/QuickGeluFusion/``), or that of the tensor it makes (``conv1_out_nchwc``). A conversion
    that was inserted belongs to the layer that made the tensor: the nearest earlier kernel with an
    output of the type and shape it reads. What is left is of the first layer that is not seen
    otherwise, between its neighbours in time, or else of the layer before it.
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

    Integer kernels say that they are, convolutions whether they ran blocked. Other layers run alike
    whatever fp32 algorithm was asked, so that theirs is what was asked. A layer without kernels was
    fused into another.

    Args:
        kernels: With their layers.
        asked: Primitive by layer index.
        provider: The execution provider asked for; what runs on another reads back as the CPU's.
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
    """What the kernels of a layer are."""
    products = [kernel for kernel in kernels if kernel.kind in _PRODUCTS and not kernel.integer]
    integers = [kernel for kernel in kernels if kernel.integer]
    if not asked.endswith("/int8"):  # whether values are moved before or after DQ is all the same
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
    """A layer not seen otherwise, between the neighbours; what quantizes comes before its layer."""
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
