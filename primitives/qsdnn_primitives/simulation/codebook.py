"""Codebooks: a layer's weights shared out among a few values, found by k-means.

(Han, Mao, Dally: Deep compression, ICLR 2016, section 3.) On sorted numbers a cluster is an
interval, and a step of Lloyd's algorithm costs k log n: general k-means takes n k, which is a
minute for a large layer and 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from qsdnn.model.calibration import Calibration
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.quantize.simulator import Part, Rounding
from qsdnn_primitives.simulation.rounded import (
    FP32_BITS,
    Array,
    chosen,
    fp32_bytes,
    packed_bytes,
    primitive,
    products,
    round_weights,
    weights_of,
)

STEPS = 200
"""The most steps of Lloyd's algorithm, which mostly stands still earlier."""

DENSITIES = (0.0, 1 / 3, 2 / 3, 1.0)
"""Exponents for the starting values, which lie as densely as that power of the weights' density: 0
is evenly, 1/3 as the best quantizer of very many levels (Panter, Dite: Proceedings of the IRE 39,
1951), 1 at quantiles."""


class Codebook:
    """Simulates one codebook of 2^bits values for the weights of each product."""

    name = "codebook"

    def roundings(self, layer: Layer, bits: int, calibration: Calibration) -> Sequence[Rounding]:
        """See `qsdnn.quantize.simulator.Simulator`; activations are not known beforehand."""
        counts = [weights_of(node).size for node in products(layer).values()]
        if not counts:
            return ()
        sizes = [packed_bytes(n, bits) + packed_bytes(min(n, 1 << bits), FP32_BITS) for n in counts]
        return [
            Rounding(
                part=Part.WEIGHTS,
                bits=bits,
                form=f"{1 << bits} values",
                size_bytes=sum(sizes),
                fp32_bytes=fp32_bytes(layer),
                primitive=primitive(self.name, Part.WEIGHTS, bits),
            )
        ]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """See `qsdnn.quantize.simulator.Simulator`."""

        def edit(model: onnx.ModelProto) -> None:
            rounds = {
                name: partial(_shared, bits)
                for layer, bits in chosen(segment, Part.WEIGHTS)
                for name in products(layer)
            }
            round_weights(model, rounds, folder)

        files, options = write_segment(segment, folder, edit)
        return Artifact(file=files[0], files=files, options=options)


def _shared(bits: int, weights: Array, axis: int) -> Array:
    return nearest(weights, codebook(weights, 1 << bits))


def codebook(values: NDArray[np.float32], entries: int) -> NDArray[np.float32]:
    """At most `entries` values, ascending, that stand for the given values with a small error.

    The error is the squared one. Lloyd's algorithm ends in a local optimum: the best end of all
    `DENSITIES` is taken.

    Args:
        values: The values, of any shape, not empty.
        entries: The number of entries, 1 or more.
    """
    different = np.unique(values)
    if len(different) <= entries:
        return different
    ordered = np.sort(values, axis=None).astype(np.float64)
    starts = [_start(ordered, entries, density) for density in DENSITIES]
    found = [_lloyd(ordered, start).astype(np.float32) for start in starts]
    return min(found, key=lambda book: float(np.square(nearest(values, book) - values).mean()))


def nearest(values: NDArray[np.float32], book: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest entry of a codebook for each value.

    Args:
        values: The values, of any shape.
        book: The codebook (entries,), ascending.
    """
    return book[np.searchsorted((book[1:] + book[:-1]) / 2, values)]


def _start(ordered: NDArray[np.float64], entries: int, density: float) -> NDArray[np.float64]:
    """Start centres (entries,), with as much of a power of the density between each two."""
    share = np.concatenate([[0.0], np.cumsum(np.diff(ordered) ** (1 - density))])
    wanted = (np.arange(entries) + 0.5) / entries * share[-1]
    return np.asarray(np.interp(wanted, share, ordered))


def _lloyd(ordered: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves each centre to the mean of the values nearest to it, until none moves."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(STEPS):
        inner = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], inner, [len(ordered)]])
        counts = np.diff(edges)
        moved = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


SIMULATOR = Codebook()
