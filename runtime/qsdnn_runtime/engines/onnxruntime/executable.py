"""A session of onnxruntime: on the caller's buffers, profiled, or alone with the user's file."""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec, Unprofiled

from .device import DeviceValues
from .library import HERE, import_library, name_of, providers_of, reason
from .profile import Kernel, applied, assign, layer_times, read_kernels


class OnnxruntimeExecutable(Unprofiled):
    """An ONNX file in a session of its own.

    The binding has raw addresses only; the arrays are held here so that they live as long.

    Args:
        open_session: A function that opens a session.
        segment: The segment that the file is of.
        device: The device whose memory the session's provider computes in, in onnxruntime's words.
    """

    def __init__(
        self, open_session: Callable[[], Any], segment: SegmentSpec, device: str = HERE
    ) -> None:
        self._open_session = open_session
        self._session = open_session()
        self._segment = segment
        self._device = device
        self._there: Optional[DeviceValues] = None
        self._binding: Any = None
        self._inputs: Dict[str, np.ndarray] = {}
        self._outputs: Dict[str, np.ndarray] = {}

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer does not fit the model.
        """
        binding = self._session.io_binding()
        try:
            if self._device == HERE:
                for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
                    for name, array in arrays.items():
                        bind(name, HERE, 0, array.dtype.type, array.shape, array.ctypes.data)
            else:
                self._there = DeviceValues(import_library(), binding, self._device, inputs, outputs)
        except Exception as error:
            raise EngineError(reason(error)) from error
        self._binding, self._inputs, self._outputs = binding, inputs, outputs

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: onnxruntime failed.
        """
        try:
            if self._there is None:
                self._session.run_with_iobinding(self._binding)
                return
            self._there.send()
            self._session.run_with_iobinding(self._binding)
            self._there.receive()
        except Exception as error:
            raise EngineError(reason(error)) from error

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value.

        Raises:
            EngineError: onnxruntime failed.
        """
        names = list(self._segment.outputs)
        try:
            return dict(zip(names, self._session.run(names, feeds)))
        except Exception as error:
            raise EngineError(reason(error)) from error

    def close(self) -> None:
        """Frees the session."""
        self._session = self._binding = self._there = None
        self._inputs = self._outputs = {}


class ProfiledExecutable(OnnxruntimeExecutable):
    """An executable like its base class, with onnxruntime's profiler on.

    The profiler tells nothing before it is ended, and cannot be started again. After a question the
    next run therefore opens a new session, and warms the session up with a run that is not counted.
    """

    def __init__(
        self,
        open_session: Callable[[], Any],
        segment: SegmentSpec,
        folder: str,
        device: str = HERE,
    ) -> None:
        super().__init__(open_session, segment, device)
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
        provider = name_of(providers_of(self._segment.family, 1)[0])
        return applied(self._kernels, self._segment.layers, provider)

    def close(self) -> None:
        """Frees the session and deletes the profile files."""
        if not self._ended:
            self._session.end_profiling()
        super().close()
        self._ended = True
        self._delete()

    def _reopen(self) -> None:
        is_bound = self._binding is not None
        self._session = self._binding = self._there = None  # first: each session holds all weights
        self._session = self._open_session()
        if is_bound:
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


def prepare(
    library: Any, model: Path, inputs: Mapping[str, Any], outputs: Sequence[str], threads: int
) -> Tuple[Callable[[], None], Dict[str, Any]]:
    """The loop's body and the outputs: see `qsdnn_runtime.engine.OnnxLoader.bare`.

    Arrays of numbers are bound once as inputs and outputs, which spares copies.
    """
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    # Without this entry, threads would spin after a run on the cores of whoever is measured next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = library.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = list(outputs)
    values = dict(zip(names, session.run(names, dict(inputs))))
    if not all(map(_is_numeric, (*inputs.values(), *values.values()))):
        return (lambda: values.update(zip(names, session.run(names, dict(inputs))))), values
    binding = session.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, library.OrtValue.ortvalue_from_numpy(value))
    for name, value in values.items():
        binding.bind_ortvalue_output(name, library.OrtValue.ortvalue_from_numpy(value))
    return (lambda: session.run_with_iobinding(binding)), values


def _is_numeric(value: Any) -> bool:
    """Whether the caller's memory can hold a value: a sequence or a text it cannot."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
