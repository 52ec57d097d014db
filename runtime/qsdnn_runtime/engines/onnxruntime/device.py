"""Values in the memory of a device, beside the caller's arrays.

A binding copies an input of the caller's to the device when it is bound, not when it runs: a later
run computes on what the array held then. So a session on a device has values of its own there, to
which each run copies the inputs, and from which it copies the outputs. Their addresses never
change, as a recorded graph of kernels needs.
"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np


class DeviceValues:
    """The values of a session on a device, bound in place of the caller's arrays.

    Args:
        library: The package onnxruntime.
        binding: The session's binding, to which the values are bound.
        device: The device in onnxruntime's words, e.g. ``cuda``.
        inputs: The caller's inputs, by name.
        outputs: The caller's outputs, by name.
    """

    def __init__(
        self,
        library: Any,
        binding: Any,
        device: str,
        inputs: Dict[str, np.ndarray],
        outputs: Dict[str, np.ndarray],
    ) -> None:
        self._binding = binding
        self._inputs, self._outputs = inputs, outputs

        def made(array: np.ndarray) -> Any:
            make = library.OrtValue.ortvalue_from_shape_and_type
            return make(list(array.shape), array.dtype.type, device, 0)

        self._sent = {name: made(array) for name, array in inputs.items()}
        self._received = {name: made(array) for name, array in outputs.items()}
        for name, value in self._sent.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self._received.items():
            binding.bind_ortvalue_output(name, value)

    def send(self) -> None:
        """Copies the inputs to the device."""
        for name, value in self._sent.items():
            value.update_inplace(self._inputs[name])

    def receive(self) -> None:
        """Waits for the device, and copies the outputs from it."""
        self._binding.synchronize_outputs()
        for name, value in self._received.items():
            np.copyto(self._outputs[name], value.numpy())
