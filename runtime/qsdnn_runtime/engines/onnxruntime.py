"""onnxruntime's CPU execution provider: blocked (NCHWc) or im2col+GEMM convolutions."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec
from qsdnn_runtime.engines.onnxruntime_profile import (
    Kernel,
    applied,
    assign,
    layer_times,
    read_kernels,
)

NAME = "onnxruntime"
GEMM_FAMILY = "onnxruntime/gemm"

_PROVIDERS = ["CPUExecutionProvider"]
_SILENT = 4  # ORT_LOGGING_LEVEL_FATAL

# One 1x1 convolution, 1 to 64 channels, zero weights, opset 11: y = Conv(x, ConstantOfShape(s)).
# 64 channels are a multiple of every block size, so that it runs blocked wherever that exists.
_CONVOLUTION = base64.b64decode(
    "CAQ6kgEKFwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlCg8KAXgKAXcSAXkiBENvbnYSAWcqKQgEEAdCAXNKIEAAAAAA"
    "AAAAAQAAAAAAAAABAAAAAAAAAAEAAAAAAAAAWhsKAXgSFgoUCAESEAoCCAEKAggBCgIIAQoCCAFiGwoBeRIWChQI"
    "ARIQCgIIAQoCCEAKAggBCgIIAUIECgAQCw=="
)


class OnnxruntimeLoader:
    """Loads ONNX files; families ``onnxruntime/nchwc`` and ``onnxruntime/gemm``."""

    name = NAME

    def probe(self) -> Optional[EngineInfo]:
        """The version; capability ``NCHWC`` where convolutions do run blocked, seen by trying."""
        try:
            library = _library()
        except EngineError:
            return None
        capabilities = ("FP32", "NCHWC") if self._runs_blocked() else ("FP32",)
        return EngineInfo(NAME, str(library.__version__), ("CPU",), capabilities)

    def load(
        self, segment: SegmentSpec, threads: int, profile: bool = False
    ) -> "OnnxruntimeExecutable":
        """Loads an ONNX file.

        Raises:
            EngineError: onnxruntime is not installed, or refuses the file.
        """
        library = _library()
        folder = tempfile.mkdtemp(prefix="qsdnn-profile-") if profile else None
        disabled = ["NchwcTransformer"] if segment.family == GEMM_FAMILY else None

        def open_session() -> Any:
            options = _options(library, threads, folder)
            return library.InferenceSession(
                str(segment.artifact), options, providers=_PROVIDERS, disabled_optimizers=disabled
            )

        try:
            if folder is not None:
                return ProfiledExecutable(open_session, segment, folder)
            return OnnxruntimeExecutable(open_session, segment)
        except Exception as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(_first_line(error)) from error

    def _runs_blocked(self) -> bool:
        with tempfile.TemporaryDirectory(prefix="qsdnn-probe-") as folder:
            model = Path(folder) / "convolution.onnx"
            model.write_bytes(_CONVOLUTION)
            asked = {0: "onnxruntime/nchwc/fp32"}
            options = {"nodes": {}, "tensors": {"y": 0}}
            spec = SegmentSpec(model, "onnxruntime/nchwc", ("x",), ("y",), options, asked)
            executable = self.load(spec, 1, profile=True)
            try:
                executable.call({"x": np.zeros((1, 1, 1, 1), np.float32)})
                return executable.applied() == {0: Applied(asked[0], "Conv(nchwc)")}
            finally:
                executable.close()


class OnnxruntimeExecutable:
    """An ONNX file in a session of its own.

    The binding has raw addresses only; the arrays are held here so that they outlive it.
    """

    def __init__(self, open_session: Callable[[], Any], segment: SegmentSpec) -> None:
        self._open_session = open_session
        self._session = open_session()
        self._segment = segment
        self._binding: Any = None
        self._inputs: Dict[str, np.ndarray] = {}
        self._outputs: Dict[str, np.ndarray] = {}

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: One does not fit the model.
        """
        binding = self._session.io_binding()
        try:
            for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
                for name, array in arrays.items():
                    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        except Exception as error:
            raise EngineError(_first_line(error)) from error
        self._binding, self._inputs, self._outputs = binding, inputs, outputs

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: onnxruntime failed.
        """
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EngineError(_first_line(error)) from error

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value.

        Raises:
            EngineError: onnxruntime failed.
        """
        names = list(self._segment.outputs)
        try:
            return dict(zip(names, self._session.run(names, feeds)))
        except Exception as error:
            raise EngineError(_first_line(error)) from error

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
        """Frees the session."""
        self._session = self._binding = None
        self._inputs = self._outputs = {}


class ProfiledExecutable(OnnxruntimeExecutable):
    """As its base, with onnxruntime's profiler on.

    The profiler tells nothing before it is ended, and cannot be started again. After a question
    the next run therefore opens a new session, and warms it up with a run that is not counted.
    """

    def __init__(self, open_session: Callable[[], Any], segment: SegmentSpec, folder: str) -> None:
        super().__init__(open_session, segment)
        self._delete = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._ended = False
        self._skip = 0
        self._kernels: List[Kernel] = []
        self._times = dict.fromkeys(segment.layers, 0.0)

    def run(self) -> None:
        """One inference on the bound buffers."""
        if self._ended:
            self._reopen()
            super().run()
        super().run()

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value."""
        if self._ended:
            self._reopen()
            super().call(feeds)
        return super().call(feeds)

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        self._read()
        return dict(self._times)

    def applied(self) -> Dict[int, Applied]:
        """What was executed for each layer."""
        self._read()
        return applied(self._kernels, self._segment.layers)

    def close(self) -> None:
        """Frees the session and deletes its profiles."""
        if not self._ended:
            self._session.end_profiling()
        super().close()
        self._ended = True
        self._delete()

    def _reopen(self) -> None:
        self._session = self._open_session()
        if self._binding is not None:
            self.bind(self._inputs, self._outputs)
        self._ended, self._skip = False, 1

    def _read(self) -> None:
        if self._ended:
            return
        with open(self._session.end_profiling(), encoding="utf-8") as stream:
            kernels = read_kernels(json.load(stream), self._skip)
        self._ended = True
        if kernels:
            self._kernels = kernels
            options = self._segment.options
            assign(kernels, options["nodes"], options["tensors"])
        for layer, time_ms in layer_times(kernels).items():
            self._times[layer] = self._times.get(layer, 0.0) + time_ms


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError("onnxruntime is not installed here: %s" % error) from error
    return onnxruntime


def _options(library: Any, threads: int, profile: Optional[str]) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SILENT
    # Threads that wait by spinning take the cores from the engine whose segment is next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(profile, "run")
    return options


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


LOADER = OnnxruntimeLoader()
