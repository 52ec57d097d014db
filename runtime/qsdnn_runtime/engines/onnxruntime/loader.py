"""onnxruntime: blocked, im2col+GEMM and integer layers in one session; other providers."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec

from .executable import OnnxruntimeExecutable, ProfiledExecutable, prepare
from .library import (
    CPU,
    capabilities,
    device_of,
    import_library,
    missing,
    name_of,
    providers_of,
    reason,
    records,
    starts,
    versions,
)

NAME = "onnxruntime"
BLOCKED = "onnxruntime/nchwc/"

# The first two passes take layers that nobody asked to into the integers: layers that only move
# values, and convolutions between integers. The third would remove the Identity operators that keep
# the other layers out of them.
_QUANTIZING = ["QDQPropagationTransformer", "WeightBiasQuantization", "EliminateIdentity"]
# Older versions lose the names of integer convolutions, which tell the layer.
_NAMES_INTEGERS = (1, 20)
_SILENT = 4  # ORT_LOGGING_LEVEL_FATAL

# One 1x1 convolution, 1 to 64 channels, zero weights, opset 11: y = Conv(x, ConstantOfShape(s)).
# 64 channels are a multiple of every block size, so that it runs blocked wherever that exists.
_CONVOLUTION = base64.b64decode(
    "CAQ6kgEKFwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlCg8KAXgKAXcSAXkiBENvbnYSAWcqKQgEEAdCAXNKIEAAAAAA"
    "AAAAAQAAAAAAAAABAAAAAAAAAAEAAAAAAAAAWhsKAXgSFgoUCAESEAoCCAEKAggBCgIIAQoCCAFiGwoBeRIWChQI"
    "ARIQCgIIAQoCCEAKAggBCgIIAUIECgAQCw=="
)

# One conversion of an image of 64 channels, 1 high and 2 wide: y = ReorderInput(x).
_REORDER = base64.b64decode(
    "CAQSADpoCikKAXgSAXkiDFJlb3JkZXJJbnB1dDoTY29tLm1pY3Jvc29mdC5uY2h3YxIBZ1obCgF4EhYKFAgBEhAKAggB"
    "CgIIQAoCCAEKAggCYhsKAXkSFgoUCAESEAoCCAEKAghACgIIAQoCCAJCBAoAEAtCFwoTY29tLm1pY3Jvc29mdC5uY2h3"
    "YxAB"
)


class OnnxruntimeLoader:
    """Loads ONNX files in which the host half has written down how each layer is to be computed."""

    name = NAME

    def probe(self) -> Optional[EngineInfo]:
        """The version and the capabilities; ``NCHWC`` where convolutions do run blocked, by trial.

        ``NCHWC`` comes with ``layout:nchw16c``, the blocked layout, by the size of its blocks.
        ``INT8`` is there where it can be read back which layers ran in integers. Further
        capabilities are the versions of ONNX that onnxruntime reads, and those of its other
        execution providers that start.
        """
        try:
            library = import_library()
        except EngineError:
            return None
        words: Tuple[str, ...] = ("FP32",)
        if self._runs_blocked():
            words += ("NCHWC", *_layouts(library))
        if tuple(map(int, library.__version__.split(".")[:2])) >= _NAMES_INTEGERS:
            words += ("INT8",)
        words += versions(library, _options(library, 1, None))
        available = library.get_available_providers()
        started = [provider for provider in available if starts(library, provider)]
        words += capabilities(started)
        lacks = tuple(
            "%s does not start: %s" % (provider, missing(library, provider))
            for provider in available
            if provider not in started and capabilities([provider])
        )
        return EngineInfo(NAME, str(library.__version__), ("CPU",), words, lacks)

    def load(
        self, segment: SegmentSpec, threads: int, profile: bool = False
    ) -> "OnnxruntimeExecutable":
        """Loads an ONNX file.

        Raises:
            EngineError: onnxruntime is not installed, or refuses the file or the provider; or the
                file was written for a processor with other blocks.
        """
        library = import_library()
        layout = segment.options.get("layout")
        if layout is not None and "layout:%s" % layout not in _layouts(library):
            raise EngineError("made for a processor with the layout %s; build it again" % layout)
        (first, *_) = providers_of(segment.family, threads)
        folder = tempfile.mkdtemp(prefix="qsdnn-profile-") if profile else None
        disabled = _disabled(segment.layers.values())

        def opened(*, graph: bool) -> Any:
            return library.InferenceSession(
                str(segment.artifact),
                _options(library, threads, folder),
                providers=providers_of(segment.family, threads, graph=graph),
                disabled_optimizers=disabled,
            )

        def open_session() -> Any:
            session = None
            if records(first) and not profile:  # a graph hides its kernels from the profiler
                with suppress(Exception):  # where some layers are not the provider's
                    session = opened(graph=True)
            session = session or opened(graph=False)
            if name_of(first) not in session.get_providers():  # onnxruntime only warns
                raise EngineError("%s does not work here" % name_of(first))
            return session

        try:
            device = device_of(first)
            if folder is not None:
                return ProfiledExecutable(open_session, segment, folder, device)
            return OnnxruntimeExecutable(open_session, segment, device)
        except Exception as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise EngineError(reason(error)) from error

    def bare(
        self, model: Path, inputs: Mapping[str, Any], outputs: Sequence[str], threads: int
    ) -> Tuple[Callable[[], None], Dict[str, Any]]:
        """The user's file in a plain session; see `qsdnn_runtime.engine.OnnxLoader`.

        Raises:
            EngineError: onnxruntime is not installed, or refuses the file.
        """
        library = import_library()
        try:
            return prepare(library, model, inputs, outputs, threads)
        except Exception as error:
            raise EngineError(reason(error)) from error

    def _runs_blocked(self) -> bool:
        with tempfile.TemporaryDirectory(prefix="qsdnn-probe-") as folder:
            model = Path(folder) / "convolution.onnx"
            model.write_bytes(_CONVOLUTION)
            asked = {0: BLOCKED + "fp32"}
            options = {"nodes": {}, "tensors": {"y": 0}}
            spec = SegmentSpec(model, NAME, ("x",), ("y",), options, asked)
            executable = self.load(spec, 1, profile=True)
            try:
                executable.call({"x": np.zeros((1, 1, 1, 1), np.float32)})
                return executable.applied() == {0: Applied(asked[0], "Conv(nchwc)")}
            finally:
                executable.close()


@lru_cache(maxsize=None)
def _layouts(library: Any) -> Tuple[str, ...]:
    """The blocked layout, seen by converting an image to it; none where that is impossible."""
    options = _options(library, 1, None)
    image = np.arange(128, dtype=np.float32).reshape(1, 64, 1, 2)
    try:
        session = library.InferenceSession(_REORDER, options, providers=[CPU])
        (blocked,) = session.run(None, {"x": image})
    except Exception:
        return ()
    (block,) = np.flatnonzero(blocked.ravel() == image[0, 0, 0, 1])
    wanted = image.reshape(64 // block, block, 2).transpose(0, 2, 1)
    return ("layout:nchw%dc" % block,) if np.array_equal(blocked.ravel(), wanted.ravel()) else ()


def _disabled(asked: Collection[str]) -> List[str]:
    """The optimizer's passes that would do what no layer asked for; none for a bare model."""
    if not asked:
        return []
    disabled = []
    if not any(primitive.startswith(BLOCKED) for primitive in asked):
        disabled.append("NchwcTransformer")
    if any(primitive.endswith("/int8") for primitive in asked):
        disabled += _QUANTIZING
    return disabled


def _options(library: Any, threads: int, profile: Optional[str]) -> Any:
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = library.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SILENT
    # Threads that spin within a run are quick to take the next piece of work; after the run they
    # would take the cores from the engine of the next segment.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(profile, "run")
    return options
