"""The versions of ONNX that an installed onnxruntime reads, found by trying."""

from __future__ import annotations

import base64
from typing import Any, Callable, Tuple

from .providers import CPU

# y = Relu(x), IR version 8, operator set 17. Relu's kernel is the same since operator set 14.
_RELU = base64.b64decode(
    "CAg6MwoMCgF4EgF5IgRSZWx1EgFnWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQEQ=="
)
_IR, _OPSET = 1, -1  # the places of the two versions in the bytes
# The first pair is read by any onnxruntime for Python 3.8; a byte holds no more than the second.
_OLDEST, _END = (7, 14), 128


def versions(library: Any, options: Any) -> Tuple[str, ...]:
    """The newest versions that onnxruntime reads, as ``ir:10`` and ``opset:21``.

    Args:
        library: The package onnxruntime.
        options: The options for its sessions.
    """

    def reads(place: int) -> Callable[[int], bool]:
        def tried(version: int) -> bool:
            model = bytearray(_RELU)
            model[place] = version
            try:
                library.InferenceSession(bytes(model), options, providers=[CPU])
            except Exception:
                return False
            return True

        return tried

    ir_version = _last(reads(_IR), _OLDEST[0], _END)
    return ("ir:%d" % ir_version, "opset:%d" % _last(reads(_OPSET), _OLDEST[1], _END))


def _last(holds: Callable[[int], bool], first: int, end: int) -> int:
    """The last number before `end` for which `holds` is true; it is true from `first` up to it."""
    while end - first > 1:
        middle = (first + end) // 2
        first, end = (middle, end) if holds(middle) else (first, middle)
    return first
