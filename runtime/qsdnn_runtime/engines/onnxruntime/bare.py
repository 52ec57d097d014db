"""Runs the user's own file in a session of onnxruntime with default settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple

import numpy as np


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
