"""The loader of the engine ``litert``, and what it loads: an interpreter beside its buffers."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec, Unprofiled

from .artifact import read_model, read_profile
from .library import RESOLVERS, import_library, make_interpreter, version
from .profile import Stopwatch, applied

_FAMILY = "litert/"

Copy = Tuple[Callable[[], np.ndarray], np.ndarray]
"""The view of one of the interpreter's tensors, and the caller's buffer."""


class LitertLoader:
    """Loads models of the families ``litert/xnnpack``, ``litert/builtin``, ``litert/reference``."""

    name = "litert"

    def probe(self) -> Optional[EngineInfo]:
        """The version of the package that is installed."""
        try:
            return EngineInfo(self.name, version(), ("CPU",), ("FP32", "INT8"))
        except EngineError:
            return None

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> "LitertExecutable":
        """Makes an interpreter of a model.

        Raises:
            EngineError: TensorFlow Lite is not installed, or refuses the model.
        """
        import_library()
        algorithm = segment.family[len(_FAMILY) :]
        if not segment.family.startswith(_FAMILY) or algorithm not in RESOLVERS:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        kind = ProfiledExecutable if profile else LitertExecutable
        return kind(segment, algorithm, threads)


class LitertExecutable(Unprofiled):
    """An interpreter with memory of its own, into and out of which tensors are copied once.

    Its Python interface cannot be given memory. A view of a tensor must not live while the
    interpreter runs, so that each run asks for new ones.
    """

    def __init__(self, segment: SegmentSpec, algorithm: str, threads: int) -> None:
        self._segment = segment
        model = read_model(segment.artifact, segment.options)
        self._interpreter = make_interpreter(model, algorithm, threads)
        inputs, outputs = (
            [(detail["index"], tuple(int(n) for n in detail["shape"])) for detail in details]
            for details in (
                self._interpreter.get_input_details(),
                self._interpreter.get_output_details(),
            )
        )
        self._sources = dict(zip(segment.inputs, inputs))
        self._targets = dict(zip(segment.outputs, outputs))
        self._inputs: List[Copy] = []
        self._outputs: List[Copy] = []

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer is missing, or of another type, shape or memory order.
        """
        sides = ((self._sources, inputs), (self._targets, outputs))
        self._inputs, self._outputs = (
            [
                (self._view(index), _checked(name, shape, buffers))
                for name, (index, shape) in tensors.items()
            ]
            for tensors, buffers in sides
        )

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: No buffer is bound, or TensorFlow Lite failed.
        """
        if not self._outputs:
            raise EngineError("run before bind")
        for view, buffer in self._inputs:
            np.copyto(view(), buffer)
        self._invoke()
        for view, buffer in self._outputs:
            np.copyto(buffer, view())

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value; leaves the bound buffers bound.

        Raises:
            EngineError: A value does not fit, or TensorFlow Lite failed.
        """
        bound = self._inputs, self._outputs
        results = {n: np.empty(shape, np.float32) for n, (_, shape) in self._targets.items()}
        try:
            self.bind({n: np.ascontiguousarray(value) for n, value in feeds.items()}, results)
            self.run()
        finally:
            self._inputs, self._outputs = bound
        return results

    def close(self) -> None:
        """Frees the interpreter."""
        self._inputs, self._outputs = [], []
        self._interpreter = None

    def _view(self, index: int) -> Callable[[], np.ndarray]:
        view: Callable[[], np.ndarray] = self._interpreter.tensor(index)
        return view

    def _invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise EngineError("TensorFlow Lite failed: %s" % error) from error


class ProfiledExecutable(LitertExecutable):
    """An executable like its base class, run layer by layer: see `profile`."""

    def __init__(self, segment: SegmentSpec, algorithm: str, threads: int) -> None:
        super().__init__(segment, algorithm, threads)
        self._applied = applied(self._interpreter, self._segment)
        self._interpreter = None  # before the next one is made: each has all weights twice
        profile = read_profile(segment.artifact.parent, segment.options)
        parts = make_interpreter(profile.model, algorithm, threads)
        self._watch: Optional[Stopwatch] = Stopwatch(profile, parts, segment.layers)

    def run(self) -> None:
        """One inference on the bound buffers, layer by layer.

        Raises:
            EngineError: No buffer is bound, or TensorFlow Lite failed.
        """
        if not self._outputs or self._watch is None:
            raise EngineError("run before bind")
        results = self._watch.run([buffer for _, buffer in self._inputs])
        for (_, buffer), result in zip(self._outputs, results):
            np.copyto(buffer, result)

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        assert self._watch is not None
        return self._watch.layer_times()

    def applied(self) -> Dict[int, Applied]:
        """The kernels of each layer in the whole segment's interpreter."""
        return self._applied

    def close(self) -> None:
        """Frees the interpreters."""
        super().close()
        self._watch = None

    def _view(self, index: int) -> Callable[[], np.ndarray]:
        return _nothing  # the layers' graphs take and give the caller's buffers


def _nothing() -> np.ndarray:
    return np.empty(0, np.float32)


def _checked(name: str, shape: Tuple[int, ...], buffers: Dict[str, np.ndarray]) -> np.ndarray:
    buffer = buffers.get(name)
    if buffer is None:
        raise EngineError("no buffer for '%s'" % name)
    found = (buffer.dtype.name, buffer.shape, bool(buffer.flags.c_contiguous))
    if found != ("float32", shape, True):
        raise EngineError(
            "buffer '%s' is %s, not %s (type, shape, contiguous)"
            % (name, found, ("float32", shape, True))
        )
    return buffer
