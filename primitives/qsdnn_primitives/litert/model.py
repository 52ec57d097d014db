"""Writes a program as a model of TensorFlow Lite, and the weights beside it.

A segment holds the weights of its layers, and a search builds hundreds of segments. So a model is
written up to its weights, and these are in files that are stored and sent once, mostly the graph's
own. The board puts a model together when it loads it: see `qsdnn_runtime.engines.litert.artifact`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from qsdnn.errors import BuildError
from qsdnn.files import link_file, write_content
from qsdnn_primitives.litert.flatbuffer import Blob, Node, Scalar, Table, encode
from qsdnn_primitives.litert.program import Operator, Tensor
from qsdnn_primitives.litert.schema import IDENTIFIER, KINDS, TYPES, VERSION

INLINE_BYTES = 1024
"""The largest constant that is written into the model; larger ones get a place behind it."""

MAX_BYTES = 2**31 - 1
"""The largest model: its positions are 32-bit numbers, of which TensorFlow Lite takes half."""

_OLD_CODES = 127  # operators from here on have a field of their own for their number


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """Operators that run as one graph.

    Attributes:
        operators: The operators, in topological order.
        inputs: The tensors that are given.
        outputs: The tensors that are read.
    """

    operators: Sequence[Operator]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is written.

    Attributes:
        file: The name of the file with the model up to its weights.
        files: The names of all files, this one first.
        options: What the board needs to put the model together: ``{"size_bytes", "weights": [{"at",
            "file", "offset", "size_bytes"}]}``.
    """

    file: str
    files: tuple[str, ...]
    options: dict[str, Any]


class WeightFiles:
    """The files that the weights of models are in; those that models share are written once.

    Attributes:
        folder: The folder of the files, which are named by their content.

    Args:
        weights: The graph's file of weights.
        folder: The folder.
    """

    def __init__(self, weights: Path, folder: Path) -> None:
        self.folder = folder
        self._weights = weights
        self._pieces: dict[Tensor, dict[str, Any]] = {}

    def piece(self, tensor: Tensor) -> Mapping[str, Any]:
        """Where a constant is: in the graph's weights, else in a file of its own."""
        if tensor not in self._pieces:
            self._pieces[tensor] = self._found(tensor)
        return self._pieces[tensor]

    def _found(self, tensor: Tensor) -> dict[str, Any]:
        assert tensor.data is not None
        source = tensor.data.source
        stored = source.const_value if isinstance(source, ir.Value) else None
        size_bytes = prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        own = (
            isinstance(stored, ir.ExternalTensor)
            and Path(stored.location).name == self._weights.name
        )
        if own and tensor.data.convert is None:
            assert isinstance(stored, ir.ExternalTensor)
            file = link_file(self._weights, self.folder)
            return {"file": file, "offset": stored.offset or 0, "size_bytes": size_bytes}
        file = write_content(_content(tensor), ".bin", self.folder)
        return {"file": file, "offset": 0, "size_bytes": size_bytes}


def write_model(subgraphs: Sequence[Subgraph], weights: WeightFiles) -> Model:
    """Writes a model, in each graph of which the inputs are the first tensors, then the outputs.

    Args:
        subgraphs: The graphs of the model, the one that it runs first.
        weights: The files of the weights, in whose folder the model is written.

    Raises:
        BuildError: The model is too large for the format.
    """
    buffers = _Buffers()
    codes: dict[str, int] = {}
    tables = [_subgraph(subgraph, buffers, codes) for subgraph in subgraphs]
    root = Table(
        {
            0: Scalar("I", VERSION),
            1: [_code(kind) for kind in codes],
            2: tables,
            4: buffers.tables,
        }
    )
    flat = encode(root, IDENTIFIER)
    if flat.size_bytes > MAX_BYTES:
        raise BuildError(f"a segment of {flat.size_bytes} bytes is too large for a .tflite file")
    file = write_content(flat.head, ".tflite", weights.folder)
    pieces = [
        {"at": flat.places[key], **weights.piece(tensor)} for key, tensor in buffers.outside.items()
    ]
    files = dict.fromkeys([file, *(str(piece["file"]) for piece in pieces)])
    return Model(file, tuple(files), {"size_bytes": flat.size_bytes, "weights": pieces})


@dataclass(slots=True)
class _Buffers:
    """The buffers of a model; the first is that of all activations.

    Attributes:
        tables: The tables of the buffers.
        outside: The constants behind the model, by the number of their buffer.
    """

    tables: list[Table] = field(default_factory=lambda: [Table()])
    outside: dict[int, Tensor] = field(default_factory=dict)
    _numbers: dict[Tensor, int] = field(default_factory=dict)

    def number(self, tensor: Tensor) -> int:
        if tensor.data is None:
            return 0
        if tensor not in self._numbers:
            number = self._numbers[tensor] = len(self.tables)
            size_bytes = prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
            content: Node
            if size_bytes > INLINE_BYTES:
                content = Blob(number, size_bytes)
                self.outside[number] = tensor
            else:
                content = np.frombuffer(_content(tensor), np.uint8)
            self.tables.append(Table({0: content}))
        return self._numbers[tensor]


def _content(tensor: Tensor) -> bytes:
    assert tensor.data is not None
    array = tensor.data.array().astype(tensor.dtype, copy=False)
    assert array.size == prod(tensor.shape)
    return array.tobytes()


def _code(kind: str) -> Table:
    known = KINDS[kind]
    return Table(
        {
            0: Scalar("b", min(known.code, _OLD_CODES)),
            2: Scalar("i", known.version),
            3: Scalar("i", known.code),
        }
    )


def _subgraph(subgraph: Subgraph, buffers: _Buffers, codes: dict[str, int]) -> Table:
    numbers: dict[Tensor, int] = {}

    def listed(tensors: Iterable[Tensor | None]) -> np.ndarray[Any, np.dtype[np.int32]]:
        found = [-1 if t is None else numbers.setdefault(t, len(numbers)) for t in tensors]
        return np.array(found, np.int32)

    inputs, outputs = listed(subgraph.inputs), listed(subgraph.outputs)
    operators = []
    for operator in subgraph.operators:
        known = KINDS[operator.kind]
        fields: dict[int, Node] = {
            0: Scalar("I", codes.setdefault(operator.kind, len(codes))),
            1: listed(operator.inputs),
            2: listed(operator.outputs),
        }
        if known.options:
            fields |= {3: Scalar("B", known.options), 4: _options(operator)}
        operators.append(Table(fields))
    tensors = [_tensor(tensor, number, buffers) for tensor, number in numbers.items()]
    return Table({0: tensors, 1: inputs, 2: outputs, 3: operators})


def _options(operator: Operator) -> Table:
    fields: dict[int, Node] = {}
    left = dict(operator.options)
    for number, text in enumerate(KINDS[operator.kind].fields):
        name, _, letter = text.partition(":")
        if name in left:
            value = left.pop(name)
            fields[number] = Scalar(letter, value if letter == "f" else int(value))
    assert not left, f"{operator.kind} has no {left}"
    return Table(fields)


def _tensor(tensor: Tensor, number: int, buffers: _Buffers) -> Table:
    fields: dict[int, Node] = {
        0: np.array(tensor.shape, np.int32),
        1: Scalar("b", TYPES[tensor.dtype]),
        2: Scalar("I", buffers.number(tensor)),
        3: f"t{number}",
    }
    meaning = tensor.quantization
    if meaning is not None:
        points = np.full(meaning.scales.shape, meaning.zero_point, np.int64)
        fields[4] = Table({2: meaning.scales, 3: points, 6: Scalar("i", meaning.axis)})
    return Table(fields)
