"""int8 with weights and activations rounded apart, as onnxruntime and OpenVINO round them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from qsdnn.model.calibration import Calibration
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.primitive import Precision
from qsdnn.quantize.simulator import Part, Rounding
from qsdnn_primitives.onnxruntime.nodes import integer_nodes
from qsdnn_primitives.quantization.qdq import insert
from qsdnn_primitives.quantization.scale import quantize_weight
from qsdnn_primitives.simulation.rounded import (
    Array,
    chosen,
    fp32_bytes,
    packed_bytes,
    primitive,
    products,
    round_weights,
    weights_of,
)

BITS = 8


class Int8:
    """Simulates int8 weights, a scale per channel, or uint8 activations, a scale per tensor."""

    name = "int8"

    def roundings(self, layer: Layer, bits: int, calibration: Calibration) -> Sequence[Rounding]:
        """See `qsdnn.quantize.simulator.Simulator`; engines do both parts at once."""
        positions = integer_nodes(layer)
        if bits != BITS or not positions:
            return ()
        weights = [weights_of(node) for node in _products(layer).values()]
        sizes = {Part.ACTIVATIONS: fp32_bytes(layer)}
        if weights:
            sizes[Part.WEIGHTS] = sum(packed_bytes(values.size, BITS) for values in weights)
        return [
            Rounding(
                part=part,
                bits=BITS,
                form=str(Precision.INT8),
                size_bytes=size,
                fp32_bytes=fp32_bytes(layer),
                primitive=primitive(self.name, part, BITS, Precision.INT8),
            )
            for part, size in sizes.items()
        ]

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """See `qsdnn.quantize.simulator.Simulator`."""

        def edit(model: onnx.ModelProto) -> None:
            weighted = [layer for layer, _ in chosen(segment, Part.WEIGHTS)]
            names = [name for layer in weighted for name in _products(layer)]
            round_weights(model, dict.fromkeys(names, _as_int8), folder)
            active = [layer for layer, _ in chosen(segment, Part.ACTIVATIONS)]
            nodes = {f"{la.index}:{position}" for la in active for position in integer_nodes(la)}
            if nodes:
                insert(model, nodes, segment.calibration, folder, weights=False)

        files, options = write_segment(segment, folder, edit)
        return Artifact(file=files[0], files=files, options=options)


def _products(layer: Layer) -> dict[str, ir.Node]:
    """The products of a layer that engines have integer kernels for, by name."""
    inside = {f"{layer.index}:{position}" for position in integer_nodes(layer)}
    return {name: node for name, node in products(layer).items() if name in inside}


def _as_int8(weights: Array, axis: int) -> Array:
    integers, scale = quantize_weight(weights, axis, np.float32(1))
    others = tuple(i for i in range(weights.ndim) if i != axis)
    return integers.astype(np.float32) * np.expand_dims(scale, others)


SIMULATOR = Int8()
