"""OpenVINO's CPU plugin, in one precision a segment."""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from typing import Any, Dict, List, Optional

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec
from qsdnn_runtime.engines.openvino_profile import Counter, applied, layer_times, read_kernels

NAME = "openvino"
DEVICE = "CPU"

_HINTS = {"openvino/fp32": "f32", "openvino/bf16": "bf16", "openvino/fp16": "f16"}
_TELEMETRY = "openvino_telemetry"


class OpenvinoLoader:
    """Loads ONNX files; families ``openvino/fp32``, ``openvino/bf16``, ``openvino/fp16``."""

    name = NAME

    def probe(self) -> Optional[EngineInfo]:
        """The version, the devices, and what the CPU plugin says it is optimized for."""
        try:
            core = _core()
            build = str(core.get_versions(DEVICE)[DEVICE].build_number)
            version = "-".join(build.split("-")[:2])
            capabilities = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
            return EngineInfo(NAME, version, tuple(core.available_devices), tuple(capabilities))
        except (EngineError, RuntimeError):
            return None

    def load(
        self, segment: SegmentSpec, threads: int, profile: bool = False
    ) -> "OpenvinoExecutable":
        """Compiles an ONNX file.

        Raises:
            EngineError: OpenVINO is not installed, or refuses the file.
        """
        if segment.family not in _HINTS:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        properties = {
            "INFERENCE_PRECISION_HINT": _HINTS[segment.family],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": profile,
            # The cores are chosen from outside, by the affinity of the process.
            "ENABLE_CPU_PINNING": False,
            # With its cache, two nodes of one shape share a kernel while each names its own.
            "CPU_RUNTIME_CACHE_CAPACITY": 0,
        }
        try:
            model = _core().read_model(str(segment.artifact))
            _check_outputs(model)
            model = _core().compile_model(model, DEVICE, properties)
            kind = ProfiledExecutable if profile else OpenvinoExecutable
            return kind(model, segment)
        except RuntimeError as error:
            raise EngineError(_reason(error)) from error


class OpenvinoExecutable:
    """A compiled model with one inference request.

    Tensors share the memory of the arrays; both are held here. Inputs and outputs go by position:
    OpenVINO gives all tensors that are the same value, as around a Dropout, one of their names.
    """

    def __init__(self, model: Any, segment: SegmentSpec) -> None:
        self._model = model
        self._segment = segment
        self._request = model.create_infer_request()
        # Without it every run would copy the outputs it returns, which nobody reads.
        self._infer: Any = partial(self._request.infer, share_outputs=True)
        self._held: List[Any] = []

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: One does not fit the model.
        """
        library, request = import_library(), self._request
        held: List[Any] = []
        sides = (
            (request.set_input_tensor, self._segment.inputs, inputs),
            (request.set_output_tensor, self._segment.outputs, outputs),
        )
        try:
            for set_tensor, names, arrays in sides:
                for index, name in enumerate(names):
                    tensor = library.Tensor(arrays[name], shared_memory=True)
                    set_tensor(index, tensor)
                    held += [arrays[name], tensor]
        except (RuntimeError, ValueError, TypeError) as error:
            raise EngineError(_reason(error)) from error
        self._held = held

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: OpenVINO failed.
        """
        try:
            self._infer()
        except RuntimeError as error:
            raise EngineError(_reason(error)) from error

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value, in a request of its own: bound buffers stay as they are.

        Raises:
            EngineError: OpenVINO failed, or a value is no array.
        """
        try:
            values = {i: feeds[name] for i, name in enumerate(self._segment.inputs)}
            results = self._model.create_infer_request().infer(values)
            return {name: results[i] for i, name in enumerate(self._segment.outputs)}
        except (RuntimeError, TypeError, ValueError) as error:
            raise EngineError(_reason(error)) from error

    def layer_times(self) -> Dict[int, float]:
        """Not known: it was not loaded for profiling.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")

    def applied(self) -> Dict[int, Applied]:
        """Not known: it was not loaded for profiling.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")

    def close(self) -> None:
        """Frees the model."""
        self._model = self._request = self._infer = None
        self._held = []


class ProfiledExecutable(OpenvinoExecutable):
    """As its base, with the plugin's performance counters on."""

    def __init__(self, model: Any, segment: SegmentSpec) -> None:
        super().__init__(model, segment)
        options = segment.options
        self._runs = 0
        self._times = dict.fromkeys(segment.layers, 0.0)
        self._kernels = read_kernels(
            model.get_runtime_model(), options["nodes"], options["tensors"]
        )

    def run(self) -> None:
        """One inference on the bound buffers."""
        super().run()
        self._runs += 1

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value."""
        results = super().call(feeds)
        self._runs += 1
        return results

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        times = layer_times(self._kernels, self._counters(), self._runs) if self._runs else {}
        for layer, time_ms in times.items():
            self._times[layer] = max(time_ms, self._times.get(layer, 0.0))
        return dict(self._times)

    def applied(self) -> Dict[int, Applied]:
        """What was executed for each layer."""
        return applied(self._kernels, self._counters(), self._segment.layers)

    def _counters(self) -> Dict[str, Counter]:
        done = import_library().ProfilingInfo.Status.EXECUTED
        return {
            info.node_name: Counter(
                info.exec_type, info.real_time.total_seconds() * 1e6, info.status == done
            )
            for info in self._request.get_profiling_info()
        }


def _check_outputs(model: Any) -> None:
    """Refuses outputs that are inputs: their tensors would be one, and not be written."""
    for result in model.get_results():
        source = result.input(0).get_source_output().get_node()
        if source.get_type_name() == "Parameter":
            raise EngineError("an output is an input: %s" % result.get_friendly_name())


def import_library() -> Any:
    """The library, without its telemetry: importing it reports that to its maker.

    It does so through a package of its own, and does without where that is not installed.
    """
    if "openvino" in sys.modules:
        return _import()
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return _import()
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


def _import() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError("openvino is not installed here: %s" % error) from error
    return openvino


@lru_cache(maxsize=None)
def _core() -> Any:
    """One for the process: all that differs between segments is given when compiling."""
    return import_library().Core()


def _reason(error: Exception) -> str:
    """The lines that say what is wrong, without those that say where in OpenVINO."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception from")]
    return " ".join(told)[:400] or type(error).__name__


LOADER = OpenvinoLoader()
