"""What is installed, and how an ONNX file is compiled as its layers ask."""

from __future__ import annotations

from typing import Any, Collection, Dict, List, Optional, Set

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from .algorithms import algorithms, precise_kinds
from .executable import OpenvinoExecutable, ProfiledExecutable
from .hints import CONVOLUTIONS, Hint, add_anchors, with_hints
from .kernel import ANCHOR, layer_named, read_kernels
from .library import DEVICE, core, import_library, reason
from .request import AUTO, PRECISE, Request

_HINTS = {"openvino/fp32": "f32", "openvino/bf16": "bf16", "openvino/fp16": "f16"}
_UNHINTED = ("Parameter", "Constant", "Result")


class OpenvinoLoader:
    """Loads ONNX files; families ``openvino/fp32``, ``openvino/bf16``, ``openvino/fp16``."""

    name = "openvino"

    def probe(self) -> Optional[EngineInfo]:
        """The version, the devices, and what the CPU plugin can do.

        Its capabilities are what it says it is optimized for, as ``BF16``; and what a layer can be
        asked to be computed by, as ``conv:jit_avx2/fp32``, by kind of layer.
        """
        try:
            build = str(core().get_versions(DEVICE)[DEVICE].build_number)
            version = "-".join(build.split("-")[:2])
            optimized = core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
            devices = tuple(core().available_devices)
        except (EngineError, RuntimeError):
            return None
        return EngineInfo(self.name, version, devices, (*optimized, *_choices(optimized)))

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> OpenvinoExecutable:
        """Compiles an ONNX file.

        Raises:
            EngineError: OpenVINO is not installed, or refuses the file.
        """
        import_library()
        if segment.family not in _HINTS:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        requests = {layer: Request.parse(name) for layer, name in segment.layers.items()}
        properties = _properties(_HINTS[segment.family], threads, profile)
        try:
            compiled = _compile(segment, requests, properties)
            strays = _strays(compiled, segment, requests)
            if strays:
                compiled = _compile(segment, requests, properties, strays)
            kind = ProfiledExecutable if profile else OpenvinoExecutable
            return kind(compiled, segment)
        except (RuntimeError, OSError) as error:
            raise EngineError(reason(error)) from error


def _choices(optimized: Collection[str]) -> List[str]:
    """What layers can be asked to be computed by."""
    try:
        found = [(*pair, "fp32") for pair in algorithms(_properties("f32", threads=1))]
        for precision in ("bf16", "fp16"):
            if precision.upper() in optimized:
                properties = _properties(_HINTS["openvino/" + precision], threads=1)
                found += [(kind, PRECISE, precision) for kind in precise_kinds(properties)]
    except (RuntimeError, OSError):  # what cannot be asked chooses alone
        return []
    return ["%s:%s/%s" % one for one in found]


def _properties(precision: str, threads: int, profile: bool = False) -> Dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERF_COUNT": profile,
        # The cores are chosen from outside, by the affinity of the process.
        "ENABLE_CPU_PINNING": False,
        # With its cache, two nodes of one shape share a kernel while each names its own.
        "CPU_RUNTIME_CACHE_CAPACITY": 0,
    }


def _compile(
    segment: SegmentSpec,
    requests: Dict[int, Request],
    properties: Dict[str, Any],
    anchored: Collection[int] = (),
) -> Any:
    """Compiles a segment, with anchors in front of the convolutions of some of its layers."""
    model = core().read_model(str(segment.artifact))
    _check_outputs(model)
    if any(request.algorithm != AUTO for request in requests.values()):
        owners = _owners(model, segment)
        add_anchors(model, {name for name, layer in owners.items() if layer in anchored})
        model = with_hints(model, _hints(model, _owners(model, segment), requests))
    return core().compile_model(model, DEVICE, properties)


def _owners(model: Any, segment: SegmentSpec) -> Dict[str, int]:
    """Layers by the names of their operators."""
    nodes, tensors = segment.options["nodes"], segment.options["tensors"]
    owners = {}
    for op in model.get_ordered_ops():
        layer = layer_named(op.get_friendly_name(), nodes, tensors)
        if layer is not None and op.get_type_name() not in _UNHINTED:
            owners[op.get_friendly_name()] = layer
    return owners


def _hints(model: Any, owners: Dict[str, int], requests: Dict[int, Request]) -> Dict[str, Hint]:
    """Hints by operator."""
    hints = {}
    for op in model.get_ordered_ops():
        name = op.get_friendly_name()
        request = requests.get(owners.get(name, -1), Request(AUTO, ""))
        computes = op.get_type_name() in CONVOLUTIONS and not name.endswith(ANCHOR)
        hint = Hint(request.priority if computes else "", request.algorithm == PRECISE)
        if hint != Hint():
            hints[name] = hint
    return hints


def _strays(compiled: Any, segment: SegmentSpec, requests: Dict[int, Request]) -> Set[int]:
    """Layers that got another algorithm than they asked for."""
    asked = {i: request.priority for i, request in requests.items() if request.priority}
    if not asked:
        return set()
    options = segment.options
    kernels = read_kernels(compiled.get_runtime_model(), options["nodes"], options["tensors"])
    own = [kernel for kernel in kernels if kernel.computes and kernel.layer in asked]
    return {k.layer for k in own if k.layer is not None and k.algorithm != asked[k.layer]}


def _check_outputs(model: Any) -> None:
    """Refuses outputs that are inputs: their tensors would be one, and not be written."""
    for result in model.get_results():
        source = result.input(0).get_source_output().get_node()
        if source.get_type_name() == "Parameter":
            raise EngineError("an output is an input: %s" % result.get_friendly_name())
