"""The algorithm and precision that a layer asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

from qsdnn_runtime.engine import EngineError

AUTO = "auto"  # leaves the choice to the plugin

PRECISIONS: Dict[str, str] = {
    "f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"
}  # fmt: skip
"""The precision in a primitive's name, by the plugin's word for it."""


@dataclass(frozen=True)
class Request:
    """The primitive that a layer asks for.

    Attributes:
        algorithm: The algorithm, named as in `Kernel.algorithm`; or `AUTO`.
        precision: The precision to compute in.
    """

    algorithm: str
    precision: str

    @classmethod
    def parse(cls, primitive: str) -> "Request":
        """Reads ``openvino/algorithm/precision``.

        Raises:
            EngineError: The text has another form.
        """
        parts = primitive.split("/")
        if len(parts) != 3 or parts[0] != "openvino":
            raise EngineError("'%s' is no primitive of this engine" % primitive)
        if parts[2] not in PRECISIONS.values():
            raise EngineError("'%s' is of no precision of this engine" % primitive)
        return cls(algorithm=parts[1], precision=parts[2])

    @property
    def priority(self) -> str:
        """The implementation to try first; empty when none is asked for."""
        return "" if self.algorithm == AUTO else self.algorithm
