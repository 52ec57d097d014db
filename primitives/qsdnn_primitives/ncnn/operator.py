"""An operator of an ncnn network, its blobs and its weights; and how ONNX operators become some.

An "operator" here is what ncnn calls a layer: our layers are groups of ONNX nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn_primitives.plain.node import Op, Shape, UnsupportedError, is_constant, static_shape

Array = NDArray[np.float32]
Param = int | float | tuple[int, ...] | tuple[float, ...]

MAX_DIMS = 4
"""The largest number of a blob's dimensions: width, height, depth and channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Constant data of an operator.

    Attributes:
        value: The ONNX constant that the data is made from.
        convert: The function that converts the elements; None where ncnn takes them as they are.
        tagged: Whether a word that says "float32" goes before the data: ncnn wants one before the
            weights of convolutions and products, and none before biases and the like.
    """

    value: ir.Value
    convert: Callable[[Array], Array] | None = None
    tagged: bool = False

    def array(self) -> Array:
        """The data, in memory, converted."""
        tensor = self.value.const_value
        assert tensor is not None
        array = np.asarray(tensor.numpy(), dtype=np.float32)
        if self.convert is not None:
            array = self.convert(array)
        return np.ascontiguousarray(array, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator of an ncnn network.

    Attributes:
        kind: The name of the operator's type in ncnn, e.g. ``"Convolution"``.
        name: The name, unique in the network: ``"{layer index}:{position}"``, with a suffix where a
            node takes several operators.
        inputs: The blobs that are read. ONNX activations keep their names, others start with a NUL.
        outputs: The blobs that are made.
        params: The parameters by ncnn's number (https://github.com/Tencent/ncnn/wiki/operators).
        weights: The constant data, in ncnn's order.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, Param] = field(default_factory=dict)
    weights: tuple[Weight, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A layer as a part of an ncnn network.

    Attributes:
        operators: The operators, in topological order.
        aliases: Blobs by the names of tensors that are the same: nothing is computed for these.
    """

    operators: tuple[Operator, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)


def blob_shape(value: ir.Value) -> Shape:
    """The shape of an activation as a blob, which has no batch: outermost dimension first.

    Raises:
        UnsupportedError: The shape is not 1 and then one to four more dimensions.
    """
    return without_batch(static_shape(value), str(value.name))


def without_batch(shape: Shape, name: str) -> Shape:
    """A shape without its leading 1.

    Raises:
        UnsupportedError: There is no leading 1, or no or too many dimensions remain.
    """
    if len(shape) < 2 or shape[0] != 1:
        raise UnsupportedError(f"{name} is not a batch of one: {shape}")
    if len(shape) - 1 > MAX_DIMS:
        raise UnsupportedError(f"{name} has more than {MAX_DIMS} dimensions: {shape}")
    return shape[1:]


def shape_params(shape: Shape) -> dict[int, Param]:
    """Width, height, channels and depth, by their parameter numbers in Input and Reshape."""
    numbers = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}[len(shape)]
    return dict(zip(numbers, shape, strict=True))


def resolve(name: str, aliases: Mapping[str, str]) -> str:
    """The blob that a name stands for.

    Args:
        name: The name of a blob, or an alias of one.
        aliases: The blob, or further alias, that each alias stands for.
    """
    while name in aliases:
        name = aliases[name]
    return name


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
