"""A model in one engine alone: what a session's overhead is measured against.

Written against each engine's own API, without this runtime's loaders, buffers or loops: the model
as the user has it, the engine's defaults, inputs and outputs bound once.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError
from qsdnn_runtime.engines.openvino import import_library


class Outputs(NamedTuple):
    """Outputs by name, overwritten by each run."""

    outputs: Dict[str, Any]


class Bare:
    """An engine that runs a whole model; the part of `qsdnn_runtime.Session` that measuring needs.

    Args:
        manifest: Of one segment, which names the engine and the model's file.
        threads: Threads the engine may use.
        artifacts: The folder the file is in.

    Raises:
        EngineError: The engine is not known here, or refuses the model.
    """

    def __init__(self, manifest: Mapping[str, Any], *, threads: int, artifacts: Path) -> None:
        segment = manifest["segments"][0]
        if segment["engine"] not in _ENGINES:
            raise EngineError("no bare loop is known for engine '%s'" % segment["engine"])
        self._prepare = _ENGINES[segment["engine"]]
        self._model = str(artifacts / segment["artifact"])
        self._threads = threads
        self._names = list(manifest["outputs"])
        self._inputs: Dict[str, np.ndarray] = {}
        self._outputs: Dict[str, Any] = {}
        self._run: Callable[[], None] = lambda: None

    def bind(self, feeds: Mapping[str, np.ndarray]) -> Outputs:
        """Loads the model for these inputs."""
        # Neither engine keeps the arrays it is given a view of alive.
        inputs = self._inputs = {n: np.ascontiguousarray(value) for n, value in feeds.items()}
        try:
            self._run, self._outputs = self._prepare(
                self._model, self._threads, inputs, self._names
            )
        except Exception as error:  # each engine has its own tree of errors
            raise EngineError(str(error)) from error
        return Outputs(self._outputs)

    def run_bound(self) -> None:
        """One inference."""
        self._run()

    def run_timed(self) -> Tuple[int, List[int]]:
        """Nanoseconds of one inference, as of a session of one segment."""
        start = perf_counter_ns()
        self._run()
        elapsed = perf_counter_ns() - start
        return elapsed, [elapsed]

    def layer_times(self) -> Dict[int, float]:
        """Nothing: it has no layers."""
        return {}

    def applied(self) -> Dict[int, Applied]:
        """Nothing: it has no layers."""
        return {}

    def close(self) -> None:
        """Lets the engine go, and then its buffers."""
        self._run = lambda: None
        self._inputs, self._outputs = {}, {}


Prepared = Tuple[Callable[[], None], Dict[str, Any]]


def _onnxruntime(
    model: str, threads: int, inputs: Dict[str, np.ndarray], names: List[str]
) -> Prepared:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # After a run its threads would spin on the cores of whoever is measured next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    outputs = dict(zip(names, session.run(names, inputs)))
    for name, value in outputs.items():
        held = onnxruntime.OrtValue.ortvalue_from_numpy(value)
        binding.bind_ortvalue_output(name, held)
    return (lambda: session.run_with_iobinding(binding)), outputs


def _openvino(
    model: str, threads: int, inputs: Dict[str, np.ndarray], names: List[str]
) -> Prepared:
    openvino = import_library()  # it imports the package without its telemetry
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    for name, value in inputs.items():
        request.set_tensor(name, openvino.Tensor(value, shared_memory=True))
    return request.infer, {name: request.get_tensor(name).data for name in names}


_ENGINES: Dict[str, Callable[..., Prepared]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
