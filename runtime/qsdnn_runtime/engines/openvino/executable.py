"""A compiled model, bound to the caller's buffers and run."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec, Unprofiled

from .kernel import read_kernels
from .library import import_library, reason
from .profile import Counter, applied, layer_times


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
