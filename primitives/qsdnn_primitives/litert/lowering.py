"""The lowering of one ONNX operator: its inputs in either form, and the operators it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from qsdnn_primitives.litert.program import (
    Array,
    Constant,
    Convert,
    Form,
    Program,
    Tensor,
    form_of,
    order,
    transposed,
)
from qsdnn_primitives.plain.node import Op, Shape, UnsupportedError, is_constant, static_shape

MAX_BROADCAST = 4
"""The largest number of dimensions in which operands are spread over one another."""


class Lowering:
    """Adds the operators of one ONNX operator to a program.

    Attributes:
        op: The ONNX operator in plain form.
        program: The program.
    """

    def __init__(self, op: Op, program: Program) -> None:
        self.op = op
        self.program = program

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input, in ONNX's order."""
        return static_shape(self.op.inputs[index])

    @property
    def output_shape(self) -> Shape:
        """The shape of the first output, in ONNX's order."""
        return static_shape(self.op.outputs[0])

    def weight(self, index: int) -> ir.Value:
        """An input that is a constant."""
        value = self.op.inputs[index]
        if not is_constant(value):
            raise UnsupportedError(f"{value.name} is not a constant")
        return value

    def constant(self, index: int, shape: Shape, convert: Convert | None = None) -> Tensor:
        """A constant input as a tensor of the shape that `convert` gives it."""
        return Tensor(shape, "float32", Constant(self.weight(index), convert))

    def take(self, index: int = 0, form: Form = Form.PLAIN) -> Tensor:
        """An input in a form, constants too."""
        value = self.op.inputs[index]
        if is_constant(value):
            return self._constant(value, len(static_shape(value)), form)
        return self.program.take(str(value.name), form)

    def usual(self, *values: ir.Value) -> Form:
        """The form in which there is least to transpose: channels last if any value exists so."""
        rank = len(self.output_shape)
        for value in values or self.op.inputs:
            if not is_constant(value) and len(static_shape(value)) == rank:
                known = self.program.forms(str(value.name))
                if Form.LAST in known:
                    return Form.LAST
        return Form.PLAIN

    def aligned(self, value: ir.Value, rank: int, form: Form) -> Tensor:
        """An operand of elementwise operators, with leading ones up to a rank, in a form."""
        form = form_of(rank, form)
        if is_constant(value):
            return self._constant(value, rank, form)
        shape = static_shape(value)
        if len(shape) == rank:
            return self.program.take(str(value.name), form)
        padded = (1,) * (rank - len(shape)) + shape
        tensor = self.program.reshape(self.program.take(str(value.name), Form.PLAIN), padded)
        return self.program.transpose(tensor, order(rank, form))

    def add(
        self, kind: str, inputs: Sequence[Tensor | None], shape: Shape, **options: float
    ) -> Tensor:
        """Adds an operator with one output, which is returned."""
        return self.program.add(kind, inputs, shape, **options)

    def finish(self, tensor: Tensor, form: Form = Form.PLAIN, output: int = 0) -> None:
        """Makes a tensor an output, reshaped if its shape differs in dimensions of one."""
        value = self.op.outputs[output]
        wanted = transposed(static_shape(value), form_of(len(static_shape(value)), form))
        self.program.record(str(value.name), form, self.program.reshape(tensor, wanted))

    def broadcast(self, *operands: ir.Value) -> None:
        """Refuses operands of many dimensions, unless they have all elements or one."""
        size = prod(self.output_shape)
        if len(self.output_shape) > MAX_BROADCAST and any(
            prod(static_shape(value)) not in (1, size) for value in operands
        ):
            raise UnsupportedError(f"it spreads over {len(self.output_shape)} dimensions")

    @staticmethod
    def _constant(value: ir.Value, rank: int, form: Form) -> Tensor:
        shape = static_shape(value)
        if prod(shape) == 1:
            return Tensor((1,) * rank, "float32", Constant(value, lambda a: a.reshape((1,) * rank)))
        padded = (1,) * (rank - len(shape)) + shape
        perm = order(rank, form_of(rank, form))

        def convert(array: Array) -> Array:
            return array.reshape(padded).transpose(perm)

        return Tensor(transposed(padded, form_of(rank, form)), "float32", Constant(value, convert))
