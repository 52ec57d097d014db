"""A compiled model, bound to the caller's buffers, run and profiled."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec, Unprofiled

from .kernel import AUTO, CONVERSIONS, PRECISIONS, Kernel, Request, read_kernels
from .library import import_library, reason

# Kinds that move values, or bring them in and out.
_MOVING = (*CONVERSIONS, "Reshape", "Input", "Const", "Output")
# Kinds that may be a layer's own work, or may turn values into integers around it.
_POINTWISE = ("Subgraph", "Eltwise", "FakeQuantize")
_WIDTHS = ("int8", "fp16", "bf16", "fp32")


class OpenvinoExecutable(Unprofiled):
    """A compiled model with one inference request.

    Tensors share the memory of the arrays, so both are held here. Inputs and outputs go by
    position: OpenVINO gives all tensors that are the same value, as around a Dropout, one of their
    names.
    """

    def __init__(self, model: Any, segment: SegmentSpec) -> None:
        self._model = model
        self._segment = segment
        self._request = model.create_infer_request()
        # Without `share_outputs` every run would copy the outputs it returns, which nobody reads.
        self._infer: Any = partial(self._request.infer, share_outputs=True)
        self._held: List[Any] = []

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer does not fit the model.
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
            raise EngineError(reason(error)) from error
        self._held = held

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: OpenVINO failed.
        """
        try:
            self._infer()
        except RuntimeError as error:
            raise EngineError(reason(error)) from error

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
            raise EngineError(reason(error)) from error

    def close(self) -> None:
        """Frees the model."""
        self._model = self._request = self._infer = None
        self._held = []


class ProfiledExecutable(OpenvinoExecutable):
    """An executable like its base class, with the plugin's performance counters on."""

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
