"""What OpenVINO's profile says of each layer: its time, the kernel and its precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from qsdnn_runtime.engine import Applied

# Where a precision below fp32 counts: multiply-accumulates. The rest runs in whatever is at hand.
_ARITHMETIC = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq")
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_CONVERSIONS = ("Reorder", "Convert")


class Counter(NamedTuple):
    """A performance counter: the implementation, the mean time of a run, and whether it ran."""

    implementation: str
    mean_us: float
    executed: bool


@dataclass(frozen=True)
class Kernel:
    """One node of the compiled graph.

    Attributes:
        name: The node's, as the counters have it.
        kind: What it computes, in the plugin's words.
        precision: What it computes in: ``f32``, ``bf16``, …
        layer: Which layer it belongs to; None for constants and the like that are of none.
    """

    name: str
    kind: str
    precision: str
    layer: Optional[int]


def read_kernels(model: Any, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> List[Kernel]:
    """The kernels of a compiled model's runtime graph, in order of execution.

    A kernel belongs to the layer of the ONNX node, or tensor, it is named after, also when nodes
    of other layers were fused into it. A conversion that was inserted belongs to the layer that
    made the tensor, or else, at the graph's inputs, to the one that reads it.

    Args:
        model: `openvino.CompiledModel.get_runtime_model`.
        nodes: Layer by ONNX node name.
        tensors: Layer by the tensor's name.
    """
    operations = model.get_ordered_ops()
    layers: Dict[str, Optional[int]] = {}
    for op in operations:
        sources = [port.get_source_output().get_node() for port in op.inputs()]
        made_by = (layers[source.get_friendly_name()] for source in sources)
        named = _by_name(op, nodes, tensors)
        layers[op.get_friendly_name()] = _first((named, *made_by))
    for op in reversed(operations):
        if layers[op.get_friendly_name()] is None:
            readers = [t.get_node() for port in op.outputs() for t in port.get_target_inputs()]
            read_by = (layers[reader.get_friendly_name()] for reader in readers)
            layers[op.get_friendly_name()] = _first(read_by)
    return [_kernel(op, layers[op.get_friendly_name()]) for op in operations]


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

    Kernels that multiply and accumulate say in which precision. The others of a graph may be
    wider than what was asked, which costs no accuracy: theirs is what was asked. A layer without
    kernels of its own was fused into another.

    Args:
        kernels: With their layers.
        counters: By kernel name.
        asked: Primitive by layer index.
    """
    found: Dict[int, Applied] = {}
    for layer, primitive in asked.items():
        own = [k for k in kernels if k.layer == layer and _ran(k, counters)]
        own.sort(key=lambda k: (k.kind in _CONVERSIONS, -counters[k.name].mean_us))
        for kernel in own:
            if kernel.kind in _ARITHMETIC:
                primitive = "openvino/auto/" + _PRECISIONS.get(kernel.precision, kernel.precision)
        label = "fused"
        if own:
            label = "%s(%s)" % (own[0].kind, counters[own[0].name].implementation)
        found[layer] = Applied(primitive=primitive, kernel=label)
    return found


def _kernel(op: Any, layer: Optional[int]) -> Kernel:
    return Kernel(
        name=op.get_friendly_name(),
        kind=_fact(op, "layerType"),
        precision=_fact(op, "runtimePrecision"),
        layer=layer,
    )


def _by_name(op: Any, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> Optional[int]:
    originals = _fact(op, "originalLayersNames")
    if _fact(op, "layerType") in _CONVERSIONS and not originals:
        return None
    for name in (op.get_friendly_name(), *originals.split(",")):
        while name:
            if name in nodes or name in tensors:
                return nodes[name] if name in nodes else tensors[name]
            name = name.rpartition("/")[0]  # the frontend writes 0:0/WithoutBiases and the like
    return None


def _fact(op: Any, key: str) -> str:
    info = op.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _first(layers: Iterable[Optional[int]]) -> Optional[int]:
    return next((layer for layer in layers if layer is not None), None)


def _ran(kernel: Kernel, counters: Mapping[str, Counter]) -> bool:
    return kernel.name in counters and counters[kernel.name].executed
