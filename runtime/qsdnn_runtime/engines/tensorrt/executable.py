"""An engine with its buffers: copied in, executed and copied out, in order on one stream.

Not run on hardware yet: written to the documentation, as no GPU was at hand.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec, Unprofiled

from .cuda import TO_DEVICE, TO_HOST, Cuda
from .library import failure
from .readback import EngineLayer, applied, layer_times, make_profiler, read_layers


class Port:
    """An input or output: memory on the GPU, and page-locked memory here beside it.

    Attributes:
        there: The address on the GPU, which never changes.
        here: The address here.
        array: The memory here, as an array.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, there: int, here: int) -> None:
        self.there, self.here = there, here
        count = int(np.prod(shape, dtype=np.int64))
        memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(here)
        self.array = np.frombuffer(memory, dtype, count).reshape(tuple(shape))


class TensorrtExecutable(Unprofiled):
    """An engine in an execution context; see `qsdnn_runtime.engine.Executable`.

    The kernels of an inference are recorded once as a CUDA graph, where that can be done.

    Args:
        library: The package tensorrt.
        log: The log, from `qsdnn_runtime.engines.tensorrt.library.make_log`.
        cuda: The GPU.
        held: The runtime and the engine that it made; the first must outlive the second.
        segment: The segment that the engine was built of.

    Raises:
        EngineError: There is not enough memory, or the first inference failed.
    """

    is_recorded = True

    def __init__(
        self, library: Any, log: Any, cuda: Cuda, held: Tuple[Any, Any], segment: SegmentSpec
    ) -> None:
        self._library, self._log, self._cuda = library, log, cuda
        self._segment = segment
        self._held: Sequence[Any] = held
        self._frees: List[Tuple[str, int]] = []
        self._arrays: Dict[str, np.ndarray] = {}
        self._graph = 0
        try:
            self._stream = self._kept("cudaStreamDestroy", cuda.make_stream())
            self._context = held[1].create_execution_context()
            if self._context is None:
                raise failure("the engine cannot be prepared", log)
            self._inputs = {name: self._port(name) for name in segment.inputs}
            self._outputs = {name: self._port(name) for name in segment.outputs}
            self._prepare()
        except EngineError:
            self.close()
            raise

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers, which each run copies from and to.

        Raises:
            EngineError: A buffer does not fit the engine.
        """
        for name, port in self._ports():
            array = inputs[name] if name in self._inputs else outputs[name]
            if (array.shape, array.dtype) != (port.array.shape, port.array.dtype):
                told = (name, array.dtype, array.shape, port.array.dtype, port.array.shape)
                raise EngineError("'%s' is %s%s; the engine has %s%s" % told)
        self._arrays = {**inputs, **outputs}

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: TensorRT or the GPU failed.
        """
        self._infer(self._arrays)
        for name, port in self._outputs.items():
            np.copyto(self._arrays[name], port.array)

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value; bound buffers stay as they are.

        Raises:
            EngineError: TensorRT or the GPU failed, or a value is of another shape.
        """
        for name, port in self._inputs.items():
            if np.shape(feeds[name]) != port.array.shape:
                told = (name, np.shape(feeds[name]), port.array.shape)
                raise EngineError("'%s' has the shape %s; the engine has %s" % told)
        self._infer(feeds)
        return {name: port.array.copy() for name, port in self._outputs.items()}

    def close(self) -> None:
        """Frees the context and the memory, in this order."""
        self._context, self._held = None, ()
        self._inputs, self._outputs, self._arrays = {}, {}, {}
        while self._frees:
            self._cuda.free(*self._frees.pop())

    def _infer(self, values: Mapping[str, Any]) -> None:
        for name, port in self._inputs.items():
            try:
                np.copyto(port.array, values[name], casting="no")
            except (TypeError, ValueError) as error:
                raise EngineError("'%s': %s" % (name, error)) from error
        for port in self._inputs.values():
            self._copy(port.there, port.here, port, TO_DEVICE)
        if self._graph:
            self._cuda.replay(self._graph, self._stream)
        else:
            self._execute()
        for port in self._outputs.values():
            self._copy(port.here, port.there, port, TO_HOST)
        self._cuda.synchronize(self._stream)

    def _copy(self, target: int, source: int, port: Port, kind: int) -> None:
        self._cuda.copy(target, source, port.array.nbytes, kind, self._stream)

    def _execute(self) -> None:
        """Queues the engine's kernels."""
        if not self._context.execute_async_v3(self._stream):
            raise failure("the engine cannot be executed", self._log)

    def _prepare(self) -> None:
        """One inference on zeros, in which TensorRT settles; then the kernels are recorded."""
        for name, port in self._ports():
            port.array[...] = 0
            if not self._context.set_tensor_address(name, port.there):
                raise failure("'%s' cannot be bound" % name, self._log)
        self._infer({name: port.array for name, port in self._inputs.items()})
        if self.is_recorded:
            self._graph = self._recorded(self._execute)

    def _recorded(self, run: Callable[[], None]) -> int:
        """A CUDA graph; 0 for engines with loops and the like, which cannot be recorded."""
        try:
            made = self._cuda.record(self._stream, run)
        except EngineError:
            return 0
        return self._kept("cudaGraphExecDestroy", made)

    def _ports(self) -> List[Tuple[str, Port]]:
        return [*self._inputs.items(), *self._outputs.items()]

    def _port(self, name: str) -> Port:
        engine = self._held[1]
        shape = tuple(engine.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise EngineError("'%s' has no static shape: %s" % (name, shape))
        dtype = np.dtype(self._library.nptype(engine.get_tensor_dtype(name)))
        size_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        there = self._kept("cudaFree", self._cuda.take_device(size_bytes))
        here = self._kept("cudaFreeHost", self._cuda.take_host(size_bytes))
        return Port(shape, dtype, there, here)

    def _kept(self, free: str, handle: int) -> int:
        """A handle that `close` frees by a function."""
        self._frees.append((free, handle))
        return handle


class ProfiledExecutable(TensorrtExecutable):
    """An executable like its base class, with TensorRT's profiler on, and nothing recorded.

    With a profiler TensorRT waits for each inference (``enqueue_emits_profile``), and then reports
    the time of each of its layers.
    """

    is_recorded = False

    def _prepare(self) -> None:
        super()._prepare()
        self._profiler = make_profiler(self._library)
        self._context.profiler = self._profiler

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        return layer_times(self._layers(), self._profiler.times_ms, self._segment.layers)

    def applied(self) -> Dict[int, Applied]:
        """What was executed for each layer."""
        return applied(self._layers(), self._profiler.times_ms, self._segment.layers)

    def _layers(self) -> List[EngineLayer]:
        inspector = self._held[1].create_engine_inspector()
        text = inspector.get_engine_information(self._library.LayerInformationFormat.JSON)
        return read_layers(text, self._segment.options["nodes"])
