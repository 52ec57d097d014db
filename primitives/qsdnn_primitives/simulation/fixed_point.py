"""Fixed point: numbers of IL integer and FL fractional bits, the sign among the integer ones.

(Gupta, Agrawal, Gopalakrishnan, Narayanan: Deep learning with limited numerical precision, ICML
2015, section 3.) IL + FL is the width; either may be negative where all values are tiny or huge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from qsdnn.model.calibration import Calibration
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.quantize.simulator import Part, Rounding
from qsdnn_primitives.simulation.rounded import (
    OPSET,
    Array,
    Grid,
    chosen,
    fp32_bytes,
    packed_bytes,
    primitive,
    products,
    round_activations,
    round_weights,
    weights_of,
)

CLIPPED = 4
"""The most integer bits to try below what the largest value needs: each bit less halves the step,
and clips more."""


class FixedPoint:
    """Simulates a format for the weights of each product, and one for each activation around it."""

    name = "fixed-point"

    def roundings(self, layer: Layer, bits: int, calibration: Calibration) -> Sequence[Rounding]:
        """See `qsdnn.quantize.simulator.Simulator`; the rest of a layer, biases too, stays fp32."""
        weights = [weights_of(node) for node in products(layer).values()]
        if not weights:
            return ()
        size_bytes = sum(packed_bytes(values.size, bits) for values in weights)
        of_weights = ", ".join(str(format_of_values(values, bits)) for values in weights)
        of_activations = _told(layer, bits, calibration)
        found = {Part.WEIGHTS: (of_weights, size_bytes)}
        if _opset(layer) >= OPSET:
            found[Part.ACTIVATIONS] = (of_activations, fp32_bytes(layer))
            found[Part.BOTH] = (f"{of_weights}; {of_activations}", size_bytes)
        return [
            Rounding(
                part=part,
                bits=bits,
                form=form,
                size_bytes=size,
                fp32_bytes=fp32_bytes(layer),
                primitive=primitive(self.name, part, bits),
            )
            for part, (form, size) in found.items()
        ]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """See `qsdnn.quantize.simulator.Simulator`."""

        def edit(model: onnx.ModelProto) -> None:
            rounds = {
                name: partial(_as_fixed_point, bits)
                for layer, bits in chosen(segment, Part.WEIGHTS, Part.BOTH)
                for name in products(layer)
            }
            round_weights(model, rounds, folder)
            reads: dict[str, Grid] = {}
            makes: dict[str, Grid] = {}
            for layer, bits in chosen(segment, Part.ACTIVATIONS, Part.BOTH):
                assert segment.calibration is not None
                inputs, outputs = _formats(layer, bits, segment.calibration)
                reads |= {name: form.grid for name, form in inputs.items()}
                makes |= {name: form.grid for name, form in outputs.items()}
            if makes:
                round_activations(model, reads, makes, folder)

        files, options = write_segment(segment, folder, edit)
        return Artifact(file=files[0], files=files, options=options)


def _as_fixed_point(bits: int, weights: Array, axis: int) -> Array:
    return format_of_values(weights, bits).round(weights)


def _formats(
    layer: Layer, bits: int, calibration: Calibration
) -> tuple[dict[str, Format], dict[str, Format]]:
    """The formats of each product's input, by the product's name, and of the layer's outputs."""
    reads = {name: node.inputs[0] for name, node in products(layer).items()}

    def form(tensor: str) -> Format:
        return format_of_range(*calibration.range(tensor), bits)

    inputs = {name: form(str(value.name)) for name, value in reads.items() if value is not None}
    return inputs, {name: form(name) for name in layer.outputs if name in calibration.ranges}


def _told(layer: Layer, bits: int, calibration: Calibration) -> str:
    """The formats of a layer's activations as text, e.g. ``2.6→3.5``."""
    sides = [", ".join(map(str, side.values())) for side in _formats(layer, bits, calibration)]
    return "→".join(sides)


def _opset(layer: Layer) -> int:
    graph = layer.nodes[0].graph
    return 0 if graph is None else graph.opset_imports.get("", 0)


@dataclass(frozen=True, slots=True)
class Format:
    """A fixed-point format, written IL.FL.

    Attributes:
        integer: The number of integer bits, IL, with the sign.
        fraction: The number of fractional bits, FL.
    """

    integer: int
    fraction: int

    @property
    def grid(self) -> Grid:
        """The numbers of the format, a power of two apart."""
        half = 1 << (self.integer + self.fraction - 1)
        return Grid(2.0**-self.fraction, -half, half - 1)

    def round(self, values: Array) -> Array:
        """Values rounded to the nearest numbers; ties to even, values out of range to the ends."""
        grid = self.grid
        steps = np.rint(values / np.float32(grid.step)).clip(grid.low, grid.high)
        return np.asarray(steps * np.float32(grid.step))

    def __str__(self) -> str:
        return f"{self.integer}.{self.fraction}"


def format_of_range(low: float, high: float, bits: int) -> Format:
    """The finest format of a width that spans a range, except for at most one step at its end.

    Args:
        low: The least value.
        high: The greatest value.
        bits: The width IL + FL, 1 or more.
    """
    largest = max(-low, high)
    integer = 1 + math.ceil(math.log2(largest)) if largest > 0 else 1
    return Format(integer, bits - integer)


def format_of_values(values: Array, bits: int) -> Format:
    """The format of a width that rounds values with the least mean squared error.

    Args:
        values: The values, of any shape, not empty.
        bits: The width IL + FL, 1 or more.
    """
    widest = format_of_range(float(values.min()), float(values.max()), bits)
    tried = [Format(widest.integer - less, widest.fraction + less) for less in range(CLIPPED + 1)]
    return min(tried, key=lambda form: float(np.square(form.round(values) - values).mean()))


SIMULATOR = FixedPoint()
