"""What a layer asks for, and the kernels that it got, read back from a compiled model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional

from qsdnn_runtime.engine import EngineError

AUTO = "auto"  # leaves the choice to the plugin

PRECISIONS: Dict[str, str] = {
    "f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"
}  # fmt: skip
"""The precision in a primitive's name, by the plugin's word for it."""

# Kinds that must run below fp32 if asked: multiply-accumulates. Others run in any precision at
# hand.
ARITHMETIC = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq")
CONVERSIONS = ("Reorder", "Convert")
RENAMED = "_original"  # ends the names of nodes that make integers, at the end of a graph
BARRIER = "/barrier"  # ends the names of the nodes that `durable` puts behind integers
ANCHOR = "/anchor"  # ends the names of the nodes that `hints` puts before a convolution

# The end of an implementation's name behind the algorithm: the kind of convolution that the
# implementation was written for, and the type it computes in.
_SUFFIX = re.compile(r"(_dw|_1x1)?(_[a-zA-Z]+\d+)?$")


@dataclass(frozen=True)
class Request:
    """The primitive that a layer asks for.

    Attributes:
        algorithm: The algorithm, named as in `Kernel.algorithm`; or `AUTO`.
        precision: The precision to compute in.
    """

    algorithm: str
    precision: str

    @classmethod
    def parse(cls, primitive: str) -> "Request":
        """Reads ``openvino/algorithm/precision``.

        Raises:
            EngineError: The text has another form.
        """
        parts = primitive.split("/")
        if len(parts) != 3 or parts[0] != "openvino":
            raise EngineError("'%s' is no primitive of this engine" % primitive)
        if parts[2] not in PRECISIONS.values():
            raise EngineError("'%s' is of no precision of this engine" % primitive)
        return cls(algorithm=parts[1], precision=parts[2])

    @property
    def priority(self) -> str:
        """The implementation to try first; empty when none is asked for."""
        return "" if self.algorithm == AUTO else self.algorithm


@dataclass(frozen=True)
class Kernel:
    """One node of the compiled graph.

    Attributes:
        name: The name of the node, as the performance counters have it.
        kind: The kind of computation, in the plugin's words.
        implementation: The implementation, in the plugin's words, as ``jit_avx512_1x1_f32``.
        precision: The precision of the computation: ``f32``, ``bf16``, …
        layout: The layout of the output, as ``acdb``, which is NHWC.
        layer: The layer that the node belongs to; None for constants and the like.
    """

    name: str
    kind: str
    implementation: str
    precision: str
    layout: str
    layer: Optional[int]

    @property
    def algorithm(self) -> str:
        """The implementation's name without the kind and the precision, as ``jit_avx512``."""
        return _SUFFIX.sub("", self.implementation)

    @property
    def computes(self) -> bool:
        """Whether the kernel multiplies and accumulates for its layer."""
        return self.kind in ARITHMETIC and not self.name.endswith(ANCHOR)


def read_kernels(model: Any, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> List[Kernel]:
    """The kernels of a compiled model's runtime graph, in order of execution.

    A kernel belongs to the layer of the ONNX node, or tensor, that the kernel is named after, also
    when nodes of other layers were fused into it. A conversion that was inserted belongs to the
    layer that made the tensor, or else, at the graph's inputs, to the layer that reads the tensor.

    Args:
        model: The runtime graph, from `openvino.CompiledModel.get_runtime_model`.
        nodes: The layer, by the ONNX node's name.
        tensors: The layer, by the tensor's name.
    """
    operations = model.get_ordered_ops()
    layers: Dict[str, Optional[int]] = {}
    for op in operations:
        sources = [port.get_source_output().get_node() for port in op.inputs()]
        made_by = (layers[source.get_friendly_name()] for source in sources)
        named = _by_names(op, nodes, tensors)
        layers[op.get_friendly_name()] = _first((named, *made_by))
    for op in reversed(operations):
        if layers[op.get_friendly_name()] is None:
            readers = [t.get_node() for port in op.outputs() for t in port.get_target_inputs()]
            read_by = (layers[reader.get_friendly_name()] for reader in readers)
            layers[op.get_friendly_name()] = _first(read_by)
    return [_kernel(op, layers[op.get_friendly_name()]) for op in operations]


def layer_named(name: str, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> Optional[int]:
    """The layer of a node that OpenVINO named after an ONNX node or tensor; None if none fits."""
    while name:
        if name.endswith(RENAMED):
            name = name[: -len(RENAMED)]
        if name in nodes or name in tensors:
            return nodes[name] if name in nodes else tensors[name]
        name = name.rpartition("/")[0]  # the frontend writes names like 0:0/WithoutBiases
    return None


def _kernel(op: Any, layer: Optional[int]) -> Kernel:
    return Kernel(
        name=op.get_friendly_name(),
        kind=_fact(op, "layerType"),
        implementation=_fact(op, "primitiveType"),
        precision=_fact(op, "runtimePrecision"),
        layout=_fact(op, "outputLayouts"),
        layer=layer,
    )


def _by_names(op: Any, nodes: Mapping[str, int], tensors: Mapping[str, int]) -> Optional[int]:
    originals = _fact(op, "originalLayersNames")
    if _fact(op, "layerType") in CONVERSIONS and not originals:
        return None
    names = (op.get_friendly_name(), *originals.split(","))
    return _first(layer_named(name, nodes, tensors) for name in names)


def _fact(op: Any, key: str) -> str:
    info = op.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _first(layers: Iterable[Optional[int]]) -> Optional[int]:
    return next((layer for layer in layers if layer is not None), None)
