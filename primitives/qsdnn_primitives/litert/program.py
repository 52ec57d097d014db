"""A segment as operators of TensorFlow Lite, with the layouts that its tensors are kept in.

TensorFlow Lite computes images with the channels last, ONNX has them behind the batch. A tensor of
a program may exist in both forms. It is made in the form that its operator gives, and transposed
for the first operator that needs the other one: so between convolutions nothing is transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from qsdnn_primitives.plain.node import Shape, UnsupportedError

Array = NDArray[Any]
Convert = Callable[[Array], Array]

MAX_TRANSPOSED = 6
"""The largest number of dimensions that TensorFlow Lite transposes."""


class Form(Enum):
    """The order of a tensor's dimensions: as in ONNX, or with the second one last."""

    PLAIN = "plain"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Constant:
    """The data of a tensor that never changes, made when it is written.

    Attributes:
        source: The ONNX constant, or the data itself.
        convert: The function that converts the elements; None where they are taken as they are.
    """

    source: ir.Value | Array
    convert: Convert | None = None

    def array(self) -> Array:
        """The data, converted."""
        if isinstance(self.source, ir.Value):
            assert self.source.const_value is not None
            found: Array = self.source.const_value.numpy()
        else:
            found = self.source
        return np.ascontiguousarray(found if self.convert is None else self.convert(found))


@dataclass(frozen=True, slots=True)
class Quantization:
    """The integers of a tensor: value = scale · (integer − zero point).

    Attributes:
        scales: The scale, or that of each channel (channels,).
        zero_point: The integer that stands for 0.
        axis: The axis of the channels.
    """

    scales: NDArray[np.float32]
    zero_point: int = 0
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of a program; two are equal only if they are the same.

    Attributes:
        shape: The dimensions.
        dtype: The name of the type of the elements.
        data: The data where it is constant; None for an activation.
        quantization: The meaning of integers; None in floating point.
    """

    shape: Shape
    dtype: str = "float32"
    data: Constant | None = None
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operator.

    Attributes:
        kind: The kind, a word of `qsdnn_primitives.litert.schema.KINDS`.
        inputs: The tensors that are read; None for an optional one that is left out.
        outputs: The tensors that are made.
        options: The options by name; those left out are zero.
        layer: The index of the layer that it belongs to.
    """

    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    layer: int = 0


def transposed(shape: Sequence[int], form: Form) -> Shape:
    """A shape in ONNX's order, in the order of a form."""
    dims = tuple(shape)
    return dims if form is Form.PLAIN else (dims[0], *dims[2:], dims[1])


def order(rank: int, form: Form) -> tuple[int, ...]:
    """The dimensions of ONNX in the order of a form."""
    return transposed(range(rank), form)


def form_of(rank: int, wanted: Form) -> Form:
    """The form a tensor can have: below three dimensions both are the same, called plain."""
    return wanted if rank > 2 else Form.PLAIN


class Program:
    """Operators in the order in which they run, as they are added.

    Attributes:
        operators: The operators added so far.
        layer: The index of the layer that operators are added for.
        names: The ONNX values that tensors are, in whatever form.
    """

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self.layer = 0
        self.names: dict[Tensor, str] = {}
        self._forms: dict[str, dict[Form, Tensor]] = {}

    def enter(self, name: str, shape: Shape) -> Tensor:
        """An input in ONNX's order."""
        tensor = Tensor(shape)
        self.record(name, Form.PLAIN, tensor)
        return tensor

    def record(self, name: str, form: Form, tensor: Tensor) -> None:
        """Makes a tensor known as an ONNX value in a form."""
        self.names.setdefault(tensor, name)
        self._forms.setdefault(name, {})[form_of(len(tensor.shape), form)] = tensor

    def forms(self, name: str) -> Mapping[Form, Tensor]:
        """The forms in which an ONNX value exists so far."""
        if name not in self._forms:
            raise UnsupportedError(f"{name} is made by nothing")
        return self._forms[name]

    def take(self, name: str, form: Form) -> Tensor:
        """An ONNX value in a form, transposed for it unless it exists in this form."""
        known = self.forms(name)
        rank = len(next(iter(known.values())).shape)
        form = form_of(rank, form)
        if form not in known:
            ((other, tensor),) = known.items()
            there = [order(rank, other).index(dim) for dim in order(rank, form)]
            self.record(name, form, self.transpose(tensor, there))
        return self._forms[name][form]

    def add(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        shape: Shape,
        **options: float,
    ) -> Tensor:
        """Adds an operator with one output of the given shape, which is returned."""
        output = Tensor(tuple(shape))
        self.put(kind, inputs, (output,), **options)
        return output

    def put(
        self,
        kind: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        **options: float,
    ) -> None:
        """Adds an operator."""
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs), options, self.layer))

    def transpose(self, tensor: Tensor, perm: Sequence[int]) -> Tensor:
        """A tensor with its dimensions in another order; a reshape where no element moves."""
        shape = tuple(tensor.shape[axis] for axis in perm)
        wide = [axis for axis in perm if tensor.shape[axis] > 1]
        if wide == sorted(wide):
            return self.reshape(tensor, shape)
        if len(shape) > MAX_TRANSPOSED:
            raise UnsupportedError(f"it moves {len(shape)} dimensions")
        return self.add("TRANSPOSE", [tensor, integers(perm)], shape)

    def reshape(self, tensor: Tensor, shape: Shape) -> Tensor:
        """A tensor in another shape; the same tensor when that is already its shape."""
        assert prod(tensor.shape) == prod(shape)
        if tensor.shape == tuple(shape):
            return tensor
        return self.add("RESHAPE", [tensor, integers(shape)], tuple(shape))

    def copy(self, tensor: Tensor) -> Tensor:
        """Another tensor with the same elements."""
        return self.add("RESHAPE", [tensor, integers(tensor.shape)], tensor.shape)


def integers(numbers: ArrayLike) -> Tensor:
    """A constant of 32-bit integers."""
    array = np.asarray(numbers, np.int32)
    return Tensor(array.shape, "int32", Constant(array))


def floats(numbers: ArrayLike) -> Tensor:
    """A constant of single precision."""
    values = np.asarray(numbers, np.float32)
    return Tensor(values.shape, "float32", Constant(values))
