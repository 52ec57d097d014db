"""A loaded segment: a program of compiled kernels on memory of its own and the caller's buffers."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec

from .program import ARENA, WEIGHTS, Program

ALIGNMENT_BYTES = 64
FLOAT_BYTES = 4
FEW_BITS = ("int8", "bf16")
"""The precisions that kernels name."""


class _Shared(ctypes.Structure):
    """The memory that all threads of a program see: ``struct shared`` of the kernels."""

    _fields_ = [
        ("words", ctypes.c_uint64),
        ("count", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("scratch_floats", ctypes.c_int64),
        ("scratch", ctypes.c_uint64),
        ("system", ctypes.c_uint64),
        ("state", ctypes.c_byte * 256),
    ]


class LneExecutable:
    """Runs a program; see `qsdnn_runtime.engine.Executable`.

    Args:
        program: The segment, as steps of kernels.
        segment: The same as the manifest has it.
        threads: The number of threads, the caller's among them.
        profile: Whether to time each step, which one thread does alone.

    Raises:
        EngineError: The kernels or the weights cannot be loaded.
    """

    def __init__(self, program: Program, segment: SegmentSpec, threads: int, profile: bool) -> None:
        self._program = program
        self._segment = segment
        self._library = _load(program.library)
        self._arena = _floats(program.arena)
        self._arena[:] = 0
        self._weights = _read(program.weights)
        self._scratch_floats = -(-program.scratch // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self._scratch = _floats(self._scratch_floats * threads)
        self._times = np.zeros(len(program.layers), np.int64)
        self._profile = profile
        self._buffers: List[np.ndarray] = []
        self._words: Optional[np.ndarray] = None
        # From the second line on, the threads' words begin at lines of cache.
        self._memory = _floats((ctypes.sizeof(_Shared) + ALIGNMENT_BYTES) // FLOAT_BYTES)
        self._memory[:] = 0
        self._pointer = self._memory.ctypes.data + ALIGNMENT_BYTES - _Shared.state.offset % 64
        self._shared = _Shared.from_address(self._pointer)
        self._shared.threads = threads
        self._shared.scratch_floats = self._scratch_floats
        self._shared.scratch = self._scratch.ctypes.data
        self._shared.system = _address("syscall")
        self._clock = _address("clock_gettime")
        self._threads = [self._start(index, threads) for index in range(1, threads)]

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer is missing, or of another type, shape or memory order.
        """
        program = self._program
        self._buffers = [
            *(_checked(name, shape, inputs) for name, shape in program.inputs.items()),
            *(_checked(name, shape, outputs) for name, shape in program.outputs.items()),
        ]
        names = [*program.inputs, *program.outputs]
        bases = {name: buffer.ctypes.data for name, buffer in zip(names, self._buffers)}
        bases[ARENA] = self._arena.ctypes.data
        bases[WEIGHTS] = self._weights.ctypes.data
        words = program.words.copy()
        for place in program.places:
            words[place.word] = bases[place.region] + place.offset * FLOAT_BYTES
        self._words = words
        self._shared.words = words.ctypes.data
        self._shared.count = len(program.layers)

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: No buffer is bound.
        """
        if self._words is None:
            raise EngineError("run before bind")
        if self._profile:
            self._library.lne_profile(self._pointer, self._clock, self._times.ctypes.data)
        else:
            self._library.lne_run(self._pointer)

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value; leaves the bound buffers bound."""
        bound, words = self._buffers, self._words
        outputs = {
            name: np.empty(shape, np.float32) for name, shape in self._program.outputs.items()
        }
        inputs = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        try:
            self.bind(inputs, outputs)
            self.run()
        finally:
            self._buffers, self._words = bound, words
            if words is not None:
                self._shared.words = words.ctypes.data
        return outputs

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load.

        Raises:
            EngineError: The executable was loaded without ``profile``.
        """
        self._check_profile()
        times = dict.fromkeys(self._segment.layers, 0.0)
        for layer, time_ns in zip(self._program.layers, self._times):
            times[layer] += int(time_ns) / 1e6
        return times

    def applied(self) -> Dict[int, Applied]:
        """The algorithm and the kernels that each layer ran, as the compiled code names them.

        Raises:
            EngineError: The executable was loaded without ``profile``.
        """
        self._check_profile()
        kernels: Dict[int, List[str]] = {layer: [] for layer in self._segment.layers}
        position = 0
        words = self._program.words
        for layer in self._program.layers:
            address = words[position:].ctypes.data
            kernels[layer].append(self._library.lne_name(address).decode("ascii"))
            position += int(words[position + 2])
        return {
            layer: Applied(_ran(asked, names), ", ".join(dict.fromkeys(names)) or "in place")
            for (layer, asked), names in zip(self._segment.layers.items(), kernels.values())
        }

    def close(self) -> None:
        """Ends the threads, and drops buffers and weights."""
        if self._threads:
            self._library.lne_leave(self._pointer)
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._buffers, self._words = [], None
        self._arena = self._weights = self._scratch = np.empty(0, np.float32)

    def _start(self, index: int, threads: int) -> threading.Thread:
        """Starts a thread that does its part of every run."""

        def serve() -> None:
            settle(index, threads)
            self._library.lne_serve(self._pointer, index)

        thread = threading.Thread(target=serve, name="lne-%d" % index, daemon=True)
        thread.start()
        return thread

    def _check_profile(self) -> None:
        if not self._profile:
            raise EngineError("the session was not loaded with profile=True")


def _ran(asked: str, kernels: Sequence[str]) -> str:
    """The primitive that kernels are: the one asked for, if its algorithm is among theirs.

    A kernel with a name of several words is of an algorithm, the first of them, in the precision
    that the second names, or in fp32; the others are of operators without a choice.
    """
    ran = [name.split()[:2] for name in kernels if " " in name]
    found = [(first, word if word in FEW_BITS else "fp32") for first, word in ran]
    engine, algorithm, precision = asked.split("/")
    if not found or (algorithm, precision) in found:
        return asked
    return "%s/%s/%s" % (engine, *found[0])


def _load(path: Path) -> Any:
    """The compiled kernels.

    Raises:
        EngineError: The file is for another machine, or none of ours.
    """
    try:
        library = ctypes.CDLL(str(path))
        library.lne_run.argtypes = [ctypes.c_void_p]
        library.lne_profile.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        library.lne_name.argtypes = [ctypes.c_void_p]
        library.lne_name.restype = ctypes.c_char_p
        library.lne_serve.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        library.lne_leave.argtypes = [ctypes.c_void_p]
        library.lne_serve.restype = library.lne_leave.restype = None
        library.lne_run.restype = library.lne_profile.restype = None
    except (OSError, AttributeError) as error:
        raise EngineError("%s: these kernels cannot be loaded: %s" % (path, error)) from error
    return library


def settle(index: int, threads: int) -> None:
    """Keeps the calling thread on a core of its own, where there are just as many as threads.

    Else the kernel may wake it on the core of the thread that waits for it.
    """
    if not hasattr(os, "sched_getaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == threads:
        with suppress(OSError):
            os.sched_setaffinity(0, {cores[index]})


def _address(function: str) -> int:
    """The address of a function of the C library; 0 where it has none."""
    found = getattr(ctypes.CDLL(None), function, None)
    return 0 if found is None else ctypes.cast(found, ctypes.c_void_p).value or 0


def _floats(count: int) -> np.ndarray:
    """Memory for floats that begins at a cache line."""
    block = np.empty(count * FLOAT_BYTES + ALIGNMENT_BYTES, np.uint8)
    start = -block.ctypes.data % ALIGNMENT_BYTES
    return block[start : start + count * FLOAT_BYTES].view(np.float32)


def _read(paths: Sequence[Path]) -> np.ndarray:
    """Files of floats, in memory of the program's own: huge pages, which no file has.

    Raises:
        EngineError: A file cannot be read.
    """
    try:
        sizes = [path.stat().st_size // FLOAT_BYTES for path in paths]
        weights = _floats(sum(sizes))
        start = 0
        for path, size in zip(paths, sizes):
            part = weights[start : start + size]
            with path.open("rb") as file:
                if size and file.readinto(part.data.cast("B")) != part.nbytes:
                    raise OSError("%s is cut short" % path)
            start += size
    except OSError as error:
        raise EngineError("the weights cannot be read: %s" % error) from error
    return weights


def _checked(name: str, shape: Any, buffers: Mapping[str, np.ndarray]) -> np.ndarray:
    buffer = buffers.get(name)
    if buffer is None:
        raise EngineError("no buffer for '%s'" % name)
    found = (buffer.dtype, buffer.shape, bool(buffer.flags.c_contiguous))
    wanted = (np.dtype(np.float32), tuple(shape), True)
    if found != wanted:
        raise EngineError(
            "buffer '%s' is %s, not %s (type, shape, contiguous)" % (name, found, wanted)
        )
    return buffer
