"""The functions of NVIDIA's CUDA runtime that a segment on a GPU needs, called by ctypes.

NVIDIA: CUDA Runtime API. Addresses and handles are integers here, sizes are in bytes. Not run on
hardware yet.
"""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from ctypes import byref, c_int, c_size_t, c_ulonglong, c_void_p
from typing import Any, Callable, Iterator, Optional, Tuple

from qsdnn_runtime.engine import EngineError

SUCCESS = 0
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind
_MAJOR, _MINOR = 75, 76  # cudaDeviceAttr: of the compute capability
_NONBLOCKING = 1  # cudaStreamNonBlocking: it does not wait for the default stream
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads are not disturbed
# cudaDeviceProp starts with the name; the rest grew from version to version, to 1 KiB so far.
_NAME_BYTES, _PROPERTIES_BYTES = 256, 4096

_NAMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_WHEELS = os.path.join("nvidia", "*", "lib", "libcudart.so.*")


class Cuda:
    """The CUDA runtime, on the current device.

    Args:
        library: The library libcudart, or what stands for it.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p

    def call(self, function: str, *arguments: Any) -> None:
        """Calls a function of the library.

        Raises:
            EngineError: The function failed; in the library's own words.
        """
        code = getattr(self._library, function)(*arguments)
        if code != SUCCESS:
            told = self._library.cudaGetErrorString(c_int(code)) or b"unknown error"
            raise EngineError("%s: %s (%d)" % (function, told.decode(errors="replace"), code))

    def device_count(self) -> int:
        """The number of GPUs; 0 where the driver is missing."""
        count = c_int()
        try:
            self.call("cudaGetDeviceCount", byref(count))
        except EngineError:
            return 0
        return count.value

    def name(self) -> str:
        """The name of the GPU, as ``NVIDIA A100``."""
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", properties, c_int(0))
        return properties.raw[:_NAME_BYTES].partition(b"\0")[0].decode(errors="replace")

    def compute_capability(self) -> Tuple[int, int]:
        """The version of the GPU's instructions: (8, 0) for an A100."""
        major, minor = c_int(), c_int()
        self.call("cudaDeviceGetAttribute", byref(major), c_int(_MAJOR), c_int(0))
        self.call("cudaDeviceGetAttribute", byref(minor), c_int(_MINOR), c_int(0))
        return major.value, minor.value

    def free_bytes(self) -> int:
        """The memory of the GPU that is free."""
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    def make_stream(self) -> int:
        """A stream, in which everything happens in order."""
        return self._made("cudaStreamCreateWithFlags", c_int(_NONBLOCKING))

    def take_device(self, size_bytes: int) -> int:
        """Memory on the GPU."""
        return self._made("cudaMalloc", c_size_t(size_bytes))

    def take_host(self, size_bytes: int) -> int:
        """Page-locked memory of this machine, which the GPU reads and writes by itself."""
        return self._made("cudaHostAlloc", c_size_t(size_bytes), c_int(0))

    def _made(self, function: str, *arguments: Any) -> int:
        made = c_void_p()
        self.call(function, byref(made), *arguments)
        return made.value or 0

    def free(self, function: str, handle: int) -> None:
        """Frees what was made, by the function for it; a GPU that is lost frees nothing more."""
        getattr(self._library, function)(c_void_p(handle))

    def copy(self, target: int, source: int, size_bytes: int, kind: int, stream: int) -> None:
        """Queues a copy; `kind` is `TO_DEVICE` or `TO_HOST`."""
        size, way = c_size_t(size_bytes), c_int(kind)
        where = c_void_p(target), c_void_p(source)
        self.call("cudaMemcpyAsync", *where, size, way, c_void_p(stream))

    def synchronize(self, stream: int) -> None:
        """Waits until all that was queued is done."""
        self.call("cudaStreamSynchronize", c_void_p(stream))

    def record(self, stream: int, run: Callable[[], None]) -> int:
        """A graph of the kernels that a function queues, which are not run.

        Raises:
            EngineError: The function did what cannot be recorded.
        """
        graph, made = c_void_p(), c_void_p()
        self.call("cudaStreamBeginCapture", c_void_p(stream), c_int(_THREAD_LOCAL))
        try:
            run()
        finally:  # else the stream would record forever
            self._library.cudaStreamEndCapture(c_void_p(stream), byref(graph))
        if not graph.value:
            raise EngineError("cudaStreamEndCapture: nothing was recorded")
        try:
            self.call("cudaGraphInstantiateWithFlags", byref(made), graph, c_ulonglong(0))
        finally:
            self._library.cudaGraphDestroy(graph)
        return made.value or 0

    def replay(self, graph: int, stream: int) -> None:
        """Queues the kernels of a graph."""
        self.call("cudaGraphLaunch", c_void_p(graph), c_void_p(stream))


def find_cuda(load: Callable[[str], Any] = ctypes.CDLL) -> Optional[Cuda]:
    """The CUDA runtime of this machine, with a GPU; None where either is missing.

    Args:
        load: A function that loads a library by its name.
    """
    for name in _candidates():
        try:
            cuda = Cuda(load(name))
        except (OSError, AttributeError):
            continue
        if cuda.device_count():  # else the library may be newer than the driver
            return cuda
    return None


def _candidates() -> Iterator[str]:
    """Names of the library: where the system looks, then where NVIDIA's wheels put it."""
    yield from _NAMES
    for folder in sys.path:
        yield from sorted(glob.glob(os.path.join(folder or ".", _WHEELS)))
