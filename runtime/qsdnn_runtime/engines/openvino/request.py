"""What a layer asks to be computed by."""

from __future__ import annotations

from dataclasses import dataclass

from qsdnn_runtime.engine import EngineError

AUTO = "auto"  # leaves the choice to the plugin
PRECISE = "precise"  # likewise, but in fp32 whatever the graph is compiled for


@dataclass(frozen=True)
class Request:
    """The primitive asked for.

    Attributes:
        algorithm: `AUTO`, `PRECISE`, or as `Kernel.algorithm`.
        precision: What its graph is compiled for.
    """

    algorithm: str
    precision: str

    @classmethod
    def parse(cls, primitive: str) -> "Request":
        """Reads ``openvino/algorithm/precision``.

        Raises:
            EngineError: It has another form.
        """
        parts = primitive.split("/")
        if len(parts) != 3 or parts[0] != "openvino":
            raise EngineError("'%s' is no primitive of this engine" % primitive)
        return cls(algorithm=parts[1], precision=parts[2])

    @property
    def priority(self) -> str:
        """The implementation to be tried first; empty when none is asked for."""
        return "" if self.algorithm in (AUTO, PRECISE) else self.algorithm
