"""The lowering of one ONNX operator to operators of ncnn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qsdnn_primitives.ncnn.operator import (
    Operator,
    Param,
    Weight,
    blob_shape,
    shape_params,
    without_batch,
)
from qsdnn_primitives.plain.node import Op, Shape, UnsupportedError, is_constant, static_shape


class Lowering:
    """Collects the ncnn operators of one ONNX operator, as they are added.

    Attributes:
        op: The ONNX operator in plain form: without what depends on operator versions.
        operators: The ncnn operators added so far.
        aliases: The blob that an output is the same as, by the output's name.

    Args:
        op: The ONNX operator to lower.
        name: The name of the first ncnn operator; further ones get ``/1``, ``/2`` … appended.
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
        """The name of the blob of an input that is an activation."""
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
            value: A value whose shape broadcasts to `rank` dimensions.
            rank: The number of ONNX dimensions, the batch included.
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
        """Adds an operator; names a new blob for the output if no outputs are given.

        Returns:
            The name of the operator's first output.
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
        """A blob in another shape; the same blob when that is already its shape."""
        return blob if shape == wanted else self.add("Reshape", [blob], shape_params(wanted))

    def finish(self, blob: str, shape: Shape) -> None:
        """Makes a blob the first output, reshaped if need be."""
        if shape == self.output_shape:
            self.aliases[self.output] = blob
        else:
            params = shape_params(self.output_shape)
            self.add("Reshape", [blob], params, outputs=[self.output])
