"""A primitive: one way to run a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from qsdnn.errors import InputError


class Precision(StrEnum):
    """The arithmetic a primitive computes in."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Primitive:
    """One way to run a layer, written ``engine/algorithm/precision``.

    Attributes:
        engine: The name of the inference library, e.g. ``"onnxruntime"``.
        algorithm: The algorithm, e.g. ``"im2col"``; ``"auto"`` where the engine decides.
        precision: The arithmetic that the primitive computes in.
        family: The group of primitives that may share a segment: those of one family run in one
            graph of the engine. An engine that chooses per layer has one family, one that chooses
            per graph has a family for each choice. The family always starts with the engine's name.
        format: The layout and type in which a tensor is kept between layers of the family that run
            this way, e.g. ``"nchwc"``, ``"u8"``; empty where a family has but one.
        layouts: The layouts in which the primitive takes and gives a tensor at the border of a
            segment besides ONNX's own order (`qsdnn.model.segment`), as the board says. A tensor
            that all primitives around it have so is handed over as it lies. Layouts are no part of
            what a primitive is: it compares equal without.
    """

    engine: str
    algorithm: str
    precision: Precision
    family: str
    format: str = ""
    layouts: tuple[str, ...] = field(default=(), compare=False)

    @property
    def domain(self) -> str:
        """Family and format: a tensor that passes from one domain to another has to be converted.

        Between families the tensor leaves one graph for another besides; between formats it stays
        inside.
        """
        return f"{self.family}/{self.format}" if self.format else self.family

    def __str__(self) -> str:
        return f"{self.engine}/{self.algorithm}/{self.precision}"


def parse_name(name: str) -> tuple[str, str, Precision]:
    """Splits a name of the form ``engine/algorithm/precision``.

    Raises:
        InputError: The name has another form or an unknown precision.
    """
    parts = name.split("/")
    if len(parts) != 3 or not all(parts):
        raise InputError(f"'{name}' is not of the form engine/algorithm/precision")
    try:
        return parts[0], parts[1], Precision(parts[2])
    except ValueError as error:
        known = ", ".join(Precision)
        raise InputError(f"'{name}': unknown precision", hint=f"known: {known}") from error
