"""What TensorRT executed: the layers of an engine, their kernels, types and times.

TensorRT computes several nodes in one of its own layers. Such a layer names them in its metadata,
``[ONNX Layer: 3:0]`` one after the other, and in its own name: ``3:0 + 3:1``, ``PWN(3:1)``. The
time of an engine's layer goes to the layer of the first node that it names, whose kernel computes
the others' nodes on the way; this is how other engines' fused kernels are counted too.

The form of the inspector's JSON is of TensorRT 10 and 11, whose types are told in other fields.
Not run on hardware yet.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Sequence, Tuple

from qsdnn_runtime.engine import Applied

_METADATA = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_NAMED = re.compile(r"\d+:\d+")
_MOVING = ("Reformat", "NoOp", "Constant", "Cast", "Copy")
# The format of a tensor in words: "Float" or "Row major linear FP16 format (kLINEAR)".
_TYPE_FIELDS = ("Format/Datatype", "DataType", "Datatype", "Format")
_TYPES: Mapping[str, Tuple[str, ...]] = {
    "bf16": ("bfloat16", "bf16"),
    "fp16": ("half", "fp16"),
    "int8": ("int8",),
    "fp32": ("fp32", "float"),
}
_WIDTHS = ("int8", "fp16", "bf16", "tf32", "fp32")


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine.

    Attributes:
        name: The name, as the profiler has it.
        kind: The kind, as ``CaskConvolution``.
        kernel: The name of the kernel, which TensorRT calls a tactic; empty where it tells none.
        precisions: The types of its inputs and outputs, as precisions.
        layers: The network's layers whose nodes it computes, the first one first.
    """

    name: str
    kind: str
    kernel: str
    precisions: FrozenSet[str]
    layers: Tuple[int, ...]

    @property
    def is_moving(self) -> bool:
        """Whether it only copies or converts."""
        return self.kind in _MOVING or self.name.startswith("Reformatting")

    @property
    def label(self) -> str:
        """Kind and kernel, as ``CaskConvolution(sm80_xmma_fprop)``."""
        return "%s(%s)" % (self.kind, self.kernel) if self.kernel else self.kind


def make_profiler(library: Any) -> Any:
    """A profiler for an execution context: its ``times_ms`` are sums by the engine's layers."""

    class Profiler(library.IProfiler):  # type: ignore[misc]  # known once TensorRT is imported
        def __init__(self) -> None:
            library.IProfiler.__init__(self)
            self.times_ms: Dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times_ms[layer_name] = self.times_ms.get(layer_name, 0.0) + ms

    return Profiler()


def read_layers(text: str, nodes: Mapping[str, int]) -> List[EngineLayer]:
    """The layers of an engine, from what its inspector says.

    Args:
        text: The inspector's JSON, of an engine built with detailed verbosity.
        nodes: The layer of each ONNX node, by name.
    """
    return [_read_layer(told, nodes) for told in json.loads(text).get("Layers", [])]


def _read_layer(told: Any, nodes: Mapping[str, int]) -> EngineLayer:
    facts = told if isinstance(told, dict) else {"Name": told}  # names alone, without detail
    name = str(facts.get("Name", ""))
    named = _METADATA.findall(str(facts.get("Metadata", ""))) or _named(name, nodes)
    owners = (nodes[node] for node in named if node in nodes)
    tensors = [*facts.get("Inputs", []), *facts.get("Outputs", [])]
    return EngineLayer(
        name=name,
        kind=str(facts.get("LayerType", "")),
        kernel=str(facts.get("TacticName", "")),
        precisions=frozenset(map(_precision, tensors)) - {""},
        layers=tuple(dict.fromkeys(owners)),
    )


def _named(name: str, nodes: Mapping[str, int]) -> List[str]:
    """The nodes in the name of an engine's layer: joined by `` + ``, or inside of other words."""
    parts = [part.strip() for part in name.split(" + ")]
    return [node for part in parts for node in ([part] if part in nodes else _NAMED.findall(part))]


def _precision(tensor: Mapping[str, Any]) -> str:
    words = " ".join(str(tensor.get(field, "")) for field in _TYPE_FIELDS).lower()
    for precision, marks in _TYPES.items():
        if any(mark in words for mark in marks):
            return precision
    return ""  # a type of indices, or none told


def layer_times(
    layers: Sequence[EngineLayer], times_ms: Mapping[str, float], asked: Mapping[int, str]
) -> Dict[int, float]:
    """Milliseconds of each layer; 0 for one that was computed in another's kernels.

    Args:
        layers: The layers of the engine.
        times_ms: The milliseconds of each, by name.
        asked: The primitive asked for, by layer index.
    """
    found = dict.fromkeys(asked, 0.0)
    for name, one in {layer.name: layer for layer in layers if layer.layers}.items():
        first = one.layers[0]
        found[first] = found.get(first, 0.0) + times_ms.get(name, 0.0)
    return found


def applied(
    layers: Sequence[EngineLayer], times_ms: Mapping[str, float], asked: Mapping[int, str]
) -> Dict[int, Applied]:
    """The primitive and the main kernel of each layer; for the arguments see `layer_times`.

    The main kernel is the one that took longest, of those that do more than convert. A layer
    without any has the label ``fused``: TensorRT found a constant, or nothing to do.
    """
    found = {}
    for index, primitive in asked.items():
        own = [layer for layer in layers if index in layer.layers]
        own = [layer for layer in own if not layer.is_moving] or own
        own.sort(key=lambda one: (one.layers[0] != index, -times_ms.get(one.name, 0.0)))
        precision = _executed(own, primitive.rpartition("/")[2])
        label = own[0].label if own else "fused"
        found[index] = Applied(primitive="tensorrt/auto/%s" % precision, kernel=label)
    return found


def _executed(own: Sequence[EngineLayer], asked: str) -> str:
    """The precision that a layer's kernels computed in.

    TF32 is seen in a kernel's name only: it is no type of tensors. A layer that may compute in
    TF32 and does not is as asked, as that costs no accuracy. Conversions around a layer may be
    part of its kernels, so that tensors of other types are there too.
    """
    kernels = [layer.kernel for layer in own if not layer.is_moving]
    if asked in ("fp32", "tf32") and any("tf32" in kernel for kernel in kernels):
        return "tf32"
    types = {precision for layer in own for precision in layer.precisions}
    stored = "fp32" if asked == "tf32" else asked
    if not types or stored in types:
        return asked
    return max(types, key=_WIDTHS.index)
