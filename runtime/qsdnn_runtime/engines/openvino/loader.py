"""The loader of the engine ``openvino``: compiles an ONNX file as its layers ask."""

from __future__ import annotations

from pathlib import Path
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from qsdnn_runtime.engine import EngineError, EngineInfo, SegmentSpec

from .capabilities import algorithms, kinds
from .durable import make_durable
from .executable import OpenvinoExecutable, ProfiledExecutable
from .hints import CONVOLUTIONS, Hint, add_anchors, with_hints
from .kernel import ANCHOR, AUTO, Request, layer_named, read_kernels
from .library import DEVICE, core, import_library, prepare, reason

FAMILY = "openvino"
# A graph is compiled for one of these precisions; integers occur where the model has them.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
WIDE = "fp32"
_UNHINTED = ("Parameter", "Constant", "Result")


class OpenvinoLoader:
    """Loads ONNX files of the family ``openvino``, in which precisions mix."""

    name = "openvino"

    def probe(self) -> Optional[EngineInfo]:
        """The version, the devices, and what the CPU plugin can do.

        The capabilities are what the plugin says it is optimized for, as ``BF16``; and the
        algorithms and precisions that a layer of a kind can ask for, as ``conv:jit_avx2/fp32``.
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
        if segment.family != FAMILY:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        requests = {layer: Request.parse(name) for layer, name in segment.layers.items()}
        properties = _properties(_hint(requests.values()), threads, profile)
        try:
            compiled = _compile(segment, requests, properties)
            strays = _strays(compiled, segment, requests)
            if strays:
                del compiled  # before the next one is made: each holds all weights
                compiled = _compile(segment, requests, properties, strays)
            kind = ProfiledExecutable if profile else OpenvinoExecutable
            return kind(compiled, segment)
        except (RuntimeError, OSError) as error:
            raise EngineError(reason(error)) from error

    def bare(
        self, model: Path, inputs: Mapping[str, Any], outputs: Sequence[str], threads: int
    ) -> Tuple[Callable[[], None], Dict[str, Any]]:
        """The user's file, compiled as it is; see `qsdnn_runtime.engine.OnnxLoader`.

        Raises:
            EngineError: OpenVINO is not installed, or refuses the file.
        """
        import_library()
        try:
            return prepare(model, inputs, outputs, threads)
        except (RuntimeError, OSError, ValueError, TypeError) as error:
            raise EngineError(reason(error)) from error


def _choices(optimized: Collection[str]) -> List[str]:
    """The algorithms and precisions that layers of each kind can ask for."""
    try:
        found: List[Tuple[str, str, str]] = []
        for precision in (*_HINTS, "int8"):
            if precision.upper() not in optimized:
                continue
            properties = _properties(_HINTS.get(precision, _HINTS[WIDE]), threads=1)
            pairs = algorithms(properties, precision)
            if precision == "int8" and "BF16" in optimized:
                # The results of these may be in bf16, which the older algorithms cannot write.
                pairs = [pair for pair in pairs if (*pair, "bf16") in found]
            found += [(*pair, precision) for pair in pairs]
            if precision != WIDE:
                found += [(kind, AUTO, precision) for kind in kinds(properties, precision)]
    except (RuntimeError, OSError):  # a plugin that cannot be asked chooses alone
        return []
    return ["%s:%s/%s" % one for one in found if one[1:] != (AUTO, WIDE)]


def _hint(requests: Iterable[Request]) -> str:
    """The precision that a graph is compiled for: fp32 unless a layer asks for less."""
    reduced = {request.precision for request in requests} & set(_HINTS) - {WIDE}
    if len(reduced) > 1:
        raise EngineError("one graph cannot have layers in bf16 and layers in fp16")
    return _HINTS[reduced.pop() if reduced else WIDE]


def _properties(precision: str, threads: int, profile: bool = False) -> Dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERF_COUNT": profile,
        # The cores are chosen from outside, by the affinity of the process.
        "ENABLE_CPU_PINNING": False,
        # With the plugin's cache, two nodes of one shape share a kernel while each names its own.
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
    mixed = properties["INFERENCE_PRECISION_HINT"] != _HINTS[WIDE]
    if any(request != Request(AUTO, WIDE) for request in requests.values()):
        owners = _owners(model, segment)
        add_anchors(model, {name for name, layer in owners.items() if layer in anchored})
        if any(request.precision != WIDE for request in requests.values()):
            make_durable(model, owners, requests)
        hints = _hints(model, _owners(model, segment), requests, mixed)
        model = with_hints(model, hints) if hints else model
    return core().compile_model(model, DEVICE, properties)


def _owners(model: Any, segment: SegmentSpec) -> Dict[str, int]:
    """The layers, by the names of their operators."""
    nodes, tensors = segment.options["nodes"], segment.options["tensors"]
    owners = {}
    for op in model.get_ordered_ops():
        layer = layer_named(op.get_friendly_name(), nodes, tensors)
        if layer is not None and op.get_type_name() not in _UNHINTED:
            owners[op.get_friendly_name()] = layer
    return owners


def _hints(
    model: Any, owners: Dict[str, int], requests: Dict[int, Request], mixed: bool
) -> Dict[str, Hint]:
    """Hints by operator; layers in fp32 get ``precise`` where the graph is not in fp32."""
    hints = {}
    for op in model.get_ordered_ops():
        name = op.get_friendly_name()
        request = requests.get(owners.get(name, -1), Request(AUTO, ""))
        computes = op.get_type_name() in CONVOLUTIONS and not name.endswith(ANCHOR)
        hint = Hint(request.priority if computes else "", mixed and request.precision == WIDE)
        if hint != Hint():
            hints[name] = hint
    return hints


def _strays(compiled: Any, segment: SegmentSpec, requests: Dict[int, Request]) -> Set[int]:
    """Layers that got another algorithm than they asked for; those in integers take no anchor."""
    floating = {i: request for i, request in requests.items() if request.precision != "int8"}
    asked = {i: request.priority for i, request in floating.items() if request.priority}
    if not asked:
        return set()
    options = segment.options
    kernels = read_kernels(compiled.get_runtime_model(), options["nodes"], options["tensors"])
    own = [kernel for kernel in kernels if kernel.computes and kernel.layer in asked]
    return {k.layer for k in own if k.layer is not None and k.algorithm != asked[k.layer]}


def _check_outputs(model: Any) -> None:
    """Refuses outputs that are inputs: the two tensors would be one, and never be written."""
    for result in model.get_results():
        source = result.input(0).get_source_output().get_node()
        if source.get_type_name() == "Parameter":
            raise EngineError("an output is an input: %s" % result.get_friendly_name())
