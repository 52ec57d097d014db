"""What lowers one ONNX operator to operators of ncnn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qsdnn_primitives.plain.node import Op, Shape, UnsupportedError, is_constant, static_shape

from qsdnn_primitives.ncnn.operator import (Operator, Param, Weight, blob_shape, shape_params, without_batch)


class Lowering:
    """The operators of one ONNX operator, as they are added.

    Attributes:
        op: What is lowered, with everything that depends on operator versions made plain.
        operators: What it became so far.
        aliases: Outputs that are another blob, by name.

    Args:
        op: What to lower.
        name: Of the first operator; further ones get ``/1``, ``/2`` … behind it.
    """

    def __init__(self, op: Op, name: str) -> None:
        self.op = op
        self.operators: list[Operator] = []
        self.aliases: dict[str, str] = {}
        self._name = name

    @property
    def output(self) -> str:
        """The name of the first output."""
        return str(self.op.outputs[0].name)

    def shape(self, index: int = 0) -> Shape:
        """The blob shape of an input."""
        return blob_shape(self.op.inputs[index])

    @property
    def output_shape(self) -> Shape:
        """The blob shape of the first output."""
        return blob_shape(self.op.outputs[0])

    def read(self, index: int = 0) -> str:
        """The blob of an input that is an activation."""
        value = self.op.inputs[index]
        if is_constant(value):
            raise UnsupportedError(f"{value.name} is a constant")
        blob_shape(value)
        return str(value.name)

    def weight(self, index: int) -> ir.Value:
        """An input that is a constant."""
        value = self.op.inputs[index]
        if not is_constant(value):
            raise UnsupportedError(f"{value.name} is not a constant")
        return value

    def operand(self, value: ir.Value, rank: int) -> str:
        """The blob of an activation or a constant, with leading ones up to a rank.

        Args:
            value: Of a shape that broadcasts to `rank` dimensions.
            rank: ONNX dimensions, the batch included.
        """
        shape = static_shape(value)
        aligned = without_batch((1,) * (rank - len(shape)) + shape, str(value.name))
        if is_constant(value):
            return self.add("MemoryData", (), shape_params(aligned), (Weight(value=value),))
        return self.reshape(str(value.name), blob_shape(value), aligned)

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        params: Mapping[int, Param] | None = None,
        weights: Sequence[Weight] = (),
        *,
        outputs: Sequence[str] = (),
    ) -> str:
        """Adds an operator; a blob for its output is made up where none is given.

        Returns:
            Its first output.
        """
        count = len(self.operators)
        made = tuple(outputs) or (f"\0{self._name}/{count}",)
        self.operators.append(
            Operator(
                kind=kind,
                name=f"{self._name}/{count}" if count else self._name,
                inputs=tuple(inputs),
                outputs=made,
                params=params or {},
                weights=tuple(weights),
            )
        )
        return made[0]

    def simple(self, kind: str, params: Mapping[int, Param] | None = None) -> None:
        """Makes the output from the first input, by one operator without weights."""
        self.add(kind, [self.read()], params, outputs=[self.output])

    def reshape(self, blob: str, shape: Shape, wanted: Shape) -> str:
        """A blob in another shape; itself when that is the one it has."""
        return blob if shape == wanted else self.add("Reshape", [blob], shape_params(wanted))

    def finish(self, blob: str, shape: Shape) -> None:
        """Gives the first output the elements of a blob."""
        if shape == self.output_shape:
            self.aliases[self.output] = blob
        else:
            params = shape_params(self.output_shape)
            self.add("Reshape", [blob], params, outputs=[self.output])
