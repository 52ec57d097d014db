"""Which versions of ONNX an installed onnxruntime reads, seen by trying."""

from __future__ import annotations

import base64
from typing import Any, Callable, Tuple

from .providers import CPU

# y = Relu(x), IR version 8, operator set 17. Its kernel is the same since operator set 14.
_RELU = base64.b64decode(
    "CAg6MwoMCgF4EgF5IgRSZWx1EgFnWg8KAXgSCgoICAESBAoCCAFiDwoBeRIKCggIARIECgIIAUIECgAQEQ=="
)
_IR, _OPSET = 1, -1  # where the versions stand
# The first pair any onnxruntime for Python 3.8 reads; a byte holds no more than the second.
_OLDEST, _END = (7, 14), 128


def versions(library: Any, options: Any) -> Tuple[str, ...]:
    """The newest that it reads, as ``ir:10`` and ``opset:21``.

    Args:
        library: onnxruntime.
        options: Of its sessions.
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
    """The last number that something holds of, which it does from the first one on."""
    while end - first > 1:
        middle = (first + end) // 2
        first, end = (middle, end) if holds(middle) else (first, middle)
    return first
