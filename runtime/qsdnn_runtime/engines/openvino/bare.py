"""Runs the user's own file in OpenVINO with default settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

from .library import DEVICE, core, import_library


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
