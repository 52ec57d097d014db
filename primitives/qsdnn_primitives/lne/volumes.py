"""Convolutions and pools of three dimensions: sums and maxima of those of planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from qsdnn_primitives.plain.node import Op, UnsupportedError, inner_value, static_shape

_MOST = 256
"""The most taps over all planes of an output."""

_OF_DIMENSIONS = ("kernel", "strides", "dilations", "begins", "ends", "output_padding")


@dataclass(kw_only=True)
class Volume:
    """An operator on volumes (N, C, depth, height, width), and what its planes compute so far.

    Attributes:
        op: The operator.
        ops: The operators on planes.
    """

    op: Op
    ops: list[Op] = field(default_factory=list)
    _planes: dict[int, ir.Value] = field(default_factory=dict)
    _windows: dict[int, ir.Value] = field(default_factory=dict)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes for a plane."""
        return {
            name: value[1:] if name in _OF_DIMENSIONS else value
            for name, value in self.op.attributes.items()
        }

    def taps(self, kernel: int) -> list[list[tuple[int, int]]]:
        """The taps, each with the input plane that it reads, for each plane of the output."""
        attributes = self.op.attributes
        stride, dilation = attributes["strides"][0], attributes["dilations"][0]
        begin, depth = attributes["begins"][0], static_shape(self.op.inputs[0])[2]
        count = static_shape(self.op.outputs[0])[2]
        found = []
        for place in range(count):
            reads = [(k, place * stride - begin + k * dilation) for k in range(kernel)]
            found.append([(k, at) for k, at in reads if 0 <= at < depth])
        if not all(found) or sum(map(len, found)) > _MOST:
            raise UnsupportedError("its planes are too many, or one reads nothing but padding")
        return found

    def plane(self, at: int) -> ir.Value:
        """A plane of the input."""
        if at not in self._planes:
            x = self.op.inputs[0]
            batch, channels, _, height, width = static_shape(x)
            cut = inner_value(x, f"cut {at}", (batch, channels, 1, height, width))
            attributes = {"starts": [0, 0, at, 0, 0], "steps": [1] * 5}
            self.add("Slice", (x,), cut, attributes)
            plane = inner_value(x, f"plane {at}", (batch, channels, height, width))
            self.add("Reshape", (cut,), plane, {})
            self._planes[at] = plane
        return self._planes[at]

    def window(self, depth: int) -> ir.Value:
        """The weights of one depth of the window; zeros for -1."""
        if depth not in self._windows:
            weights = self.op.inputs[1]
            assert weights.const_value is not None
            outer, inner, _, *size = static_shape(weights)
            window = inner_value(weights, f"depth {depth}", (outer, inner, *size))
            values = weights.const_value.numpy()[:, :, max(depth, 0)] * np.float32(depth >= 0)
            window.const_value = ir.tensor(np.ascontiguousarray(values))
            self._windows[depth] = window
        return self._windows[depth]

    def made(self, word: str) -> ir.Value:
        """A plane of the output, or something of its shape."""
        batch, channels, _, *size = static_shape(self.op.outputs[0])
        return inner_value(self.op.outputs[0], word, (batch, channels, *size))

    def add(
        self, kind: str, inputs: tuple[ir.Value, ...], output: ir.Value, attributes: Any
    ) -> ir.Value:
        """Adds an operator; returns what it makes."""
        op = Op(kind=kind, inputs=inputs, outputs=(output,), attributes=attributes)
        self.ops.append(op)
        return output

    def stacked(self, planes: list[ir.Value]) -> list[Op]:
        """The operators, the last of which puts the planes of the output behind one another."""
        y = self.op.outputs[0]
        batch, channels, _, *size = static_shape(y)
        parts = []
        for number, plane in enumerate(planes):
            part = inner_value(y, f"part {number}", (batch, channels, 1, *size))
            parts.append(self.add("Reshape", (plane,), part, {}))
        self.add("Concat", tuple(parts), y, {"axis": 2})
        return self.ops


def convolution(op: Op) -> list[Op]:
    """Conv of volumes: each plane is a sum of convolutions of planes."""
    if len(static_shape(op.inputs[0])) != 5:
        return [op]
    volume = Volume(op=op)
    return _summed(volume, volume.taps(static_shape(op.inputs[1])[2]))


def transposed(op: Op) -> list[Op]:
    """ConvTranspose of volumes: each plane is a sum of transposed convolutions of planes."""
    if len(static_shape(op.inputs[0])) != 5:
        return [op]
    stride, dilation = op.attributes["strides"][0], op.attributes["dilations"][0]
    begin, depth = op.attributes["begins"][0], static_shape(op.inputs[0])[2]
    found = []
    for place in range(static_shape(op.outputs[0])[2]):
        reads = [(k, place + begin - k * dilation) for k in range(static_shape(op.inputs[1])[2])]
        whole = [(k, at // stride) for k, at in reads if at % stride == 0]
        found.append([(k, at) for k, at in whole if 0 <= at < depth])
    if sum(map(len, found)) > _MOST:
        raise UnsupportedError("its planes are too many")
    return _summed(Volume(op=op), found)


def _summed(volume: Volume, taps: Sequence[Sequence[tuple[int, int]]]) -> list[Op]:
    """The operators of a convolution whose planes read these taps, each of an input plane.

    A plane that reads nothing is made of a window of zeros, for the bias.
    """
    op, planes = volume.op, []
    bias, nothing = op.inputs[2:], ((-1, 0),)
    for number, reads in enumerate(taps):
        total: ir.Value | None = None
        for k, at in reads or nothing:
            added = bias if total is None else ()
            made = volume.made(f"product {number} {k}")
            inputs = (volume.plane(at), volume.window(k), *added)
            volume.add(op.kind, inputs, made, volume.attributes)
            if total is not None:
                made = volume.add("Add", (made, total), volume.made(f"sum {number} {k}"), {})
            total = made
        assert total is not None
        planes.append(total)
    return volume.stacked(planes)


def pool(op: Op) -> list[Op]:
    """MaxPool and AveragePool of volumes: each plane is made of pooled planes."""
    if len(static_shape(op.inputs[0])) != 5:
        return [op]
    volume, pooled = Volume(op=op), dict[int, ir.Value]()
    kind = {"MaxPool": "Max", "AveragePool": "Mean"}[op.kind]
    planes = []
    for number, reads in enumerate(volume.taps(int(op.attributes["kernel"][0]))):
        for _, at in reads:
            if at not in pooled:
                plane, made = volume.plane(at), volume.made(f"pooled {at}")
                pooled[at] = volume.add(op.kind, (plane,), made, volume.attributes)
        operands = tuple(pooled[at] for _, at in reads)
        plane = volume.add(kind, operands, volume.made(f"plane {number}"), {})
        if op.attributes.get("count_include_pad"):
            factor = {"factor": len(reads) / _counted(volume, number)}
            plane = volume.add("Scale", (plane,), volume.made(f"scaled {number}"), factor)
        planes.append(plane)
    return volume.stacked(planes)


def _counted(volume: Volume, place: int) -> int:
    """The taps in depth that count in a mean: those of the padding too, and none behind it."""
    attributes = volume.op.attributes
    first = place * attributes["strides"][0] - attributes["begins"][0]
    end = static_shape(volume.op.inputs[0])[2] + attributes["ends"][0]
    taps = range(int(attributes["kernel"][0]))
    return sum(first + k * attributes["dilations"][0] < end for k in taps)
