"""The versions of ONNX that a board reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The newest versions that a reader of models takes.

    Attributes:
        ir_version: The version of the file format.
        opset: The version of the operators.
    """

    ir_version: int
    opset: int


USUAL = Versions(ir_version=10, opset=21)
"""The versions of boards that do not say: onnxruntime 1.19's, the last for Python 3.8 and 3.9."""


def versions_read(capabilities: Iterable[str]) -> Versions:
    """The versions that an engine reads, told by capabilities like ``ir:10`` and ``opset:21``."""
    told = {name: number for name, _, number in (word.partition(":") for word in capabilities)}
    return Versions(
        ir_version=int(told.get("ir", USUAL.ir_version)),
        opset=int(told.get("opset", USUAL.opset)),
    )
