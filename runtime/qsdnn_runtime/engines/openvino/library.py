"""The OpenVINO library, kept from telling its maker that it is used; alone with the user's file."""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

from qsdnn_runtime.engine import installed

DEVICE = "CPU"

_TELEMETRY = "openvino_telemetry"


def import_library() -> Any:
    """The library, without its telemetry, which reports every import to the maker.

    OpenVINO reports through a package of its own, and works without that package.
    """
    if "openvino" in sys.modules:
        return installed("openvino")
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return installed("openvino")
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


@lru_cache(maxsize=None)
def core() -> Any:
    """The one `Core` of the process: all that differs between segments is given when compiling."""
    return import_library().Core()


def opset(version: int = 8) -> Any:
    """The functions that make operators; their module moved with version 2025."""
    import_library()
    try:
        return importlib.import_module("openvino.opset%d" % version)
    except ModuleNotFoundError:
        return importlib.import_module("openvino.runtime.opset%d" % version)


def reason(error: Exception) -> str:
    """The lines of an error that say what is wrong, without those that name OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception from")]
    return " ".join(told)[:400] or type(error).__name__


def prepare(
    model: Path, inputs: Mapping[str, Any], outputs: Sequence[str], threads: int
) -> Tuple[Callable[[], None], Dict[str, Any]]:
    """The loop's body and the outputs: see `qsdnn_runtime.engine.OnnxLoader.bare`.

    By default OpenVINO computes in half the bits where the processor can: here it is told fp32.
    Inputs and outputs go by position, see `OpenvinoExecutable`.
    """
    tensor = import_library().Tensor
    properties = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core().compile_model(str(model), DEVICE, properties).create_infer_request()
    for index, value in enumerate(inputs.values()):
        request.set_input_tensor(index, tensor(value, shared_memory=True))

    def run() -> None:
        request.infer(share_outputs=True)  # else OpenVINO copies the outputs, which nobody reads

    run()  # before a run there are no outputs whose shapes depend on data
    return run, {name: request.get_output_tensor(i).data for i, name in enumerate(outputs)}
