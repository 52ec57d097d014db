"""The reader of an ONNX node, and the operator that translators make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Shape = tuple[int, ...]


class UnsupportedError(Exception):
    """This engine has no way to run a node; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator of a program; see `qsdnn_runtime.engines.blas.program`.

    Attributes:
        kind: The name of the operator.
        inputs: The values that the operator reads, constants included.
        outputs: The values that the operator makes.
        attributes: The attributes, as JSON has them: numbers, lists, strings.
        algorithm: The algorithm to use, for engines that are told in the program.
    """

    kind: str
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = "numpy"


class NodeReader:
    """Reads one ONNX node; raises `UnsupportedError` for anything that is not as needed.

    Args:
        node: A node of the default domain.
    """

    def __init__(self, node: ir.Node) -> None:
        self._node = node
        self.op_type = node.op_type

    @property
    def opset(self) -> int:
        """The version of the node's operator set."""
        imports = self._node.graph.opset_imports if self._node.graph is not None else {}
        version = self._node.version or imports.get("")
        if version is None:
            raise UnsupportedError("its operator set is unknown")
        return version

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """The inputs up to the last that is present."""
        values = list(self._node.inputs)
        while values and not _present(values[-1]):
            values.pop()
        return tuple(self.input(index) for index in range(len(values)))

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """All outputs."""
        return tuple(self._node.outputs)

    def has(self, index: int) -> bool:
        """Whether an optional input is present."""
        return index < len(self._node.inputs) and _present(self._node.inputs[index])

    def input(self, index: int) -> ir.Value:
        """An input that must be present."""
        value = self._node.inputs[index] if index < len(self._node.inputs) else None
        if value is None or not _present(value):
            raise UnsupportedError(f"input {index} is absent")
        return value

    def shape(self, index: int = 0) -> Shape:
        """The static shape of an input."""
        return static_shape(self.input(index))

    @property
    def output_shape(self) -> Shape:
        """The static shape of the first output."""
        return static_shape(self._node.outputs[0])

    def constant(self, index: int) -> NDArray[Any]:
        """The value of an input that never changes."""
        tensor = self.input(index).const_value
        if not is_constant(self.input(index)) or tensor is None:
            raise UnsupportedError(f"input {index} is not a constant")
        return tensor.numpy()

    def constant_ints(self, index: int, attribute: str) -> list[int] | None:
        """Integers that older operator sets have in an attribute, newer ones in a constant input.

        Returns:
            None where the node has neither.
        """
        if self.has(index):
            return [int(value) for value in self.constant(index).reshape(-1)]
        return self.ints(attribute)

    def ints(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers; None when it is not set."""
        attribute = self._node.attributes.get(name)
        return None if attribute is None else [int(value) for value in attribute.as_ints()]

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        attribute = self._node.attributes.get(name)
        return default if attribute is None else int(attribute.as_int())

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        attribute = self._node.attributes.get(name)
        return default if attribute is None else float(attribute.as_float())

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        attribute = self._node.attributes.get(name)
        return default if attribute is None else str(attribute.as_string())

    def axis(self, default: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return self.integer("axis", default) % len(self.shape())

    def op(
        self, kind: str, *inputs: ir.Value, outputs: tuple[ir.Value, ...] = (), **attributes: Any
    ) -> Op:
        """An operator that makes this node's first output, unless `outputs` says otherwise."""
        made = outputs or (self._node.outputs[0],)
        return Op(kind=kind, inputs=inputs, outputs=made, attributes=attributes)


def is_constant(value: ir.Value) -> bool:
    """Whether a value never changes."""
    return value.const_value is not None and not value.is_graph_input()


def static_shape(value: ir.Value) -> Shape:
    """The dimensions of a value.

    Raises:
        UnsupportedError: The dimensions are not all known, or the value has no elements.
    """
    dims = None if value.shape is None else list(value.shape)
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        raise UnsupportedError(f"the shape of {value.name} is not static")
    if 0 in dims:
        raise UnsupportedError(f"{value.name} is empty")
    return tuple(int(dim) for dim in dims if isinstance(dim, int))


def inner_value(value: ir.Value, word: str, shape: Shape) -> ir.Value:
    """A value that no model has, named for one that a model has: no name of ONNX has a NUL."""
    return ir.Value(
        name=f"{value.name}\0{word}",
        shape=ir.Shape(shape),
        type=ir.TensorType(ir.DataType.FLOAT),
    )


def scalar_of(array: NDArray[Any]) -> float:
    """The only element of an array, as a number."""
    if array.size != 1:
        raise UnsupportedError("a constant has more than one element")
    return float(np.asarray(array).reshape(-1)[0])


def _present(value: ir.Value | None) -> bool:
    return value is not None and value.name != ""
