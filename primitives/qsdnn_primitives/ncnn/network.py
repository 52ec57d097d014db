"""Writes a segment as a network, in the form of `qsdnn_runtime.engines.ncnn.artifact`."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qsdnn.files import link_file, write_content
from qsdnn.model.segment import Segment, block_of
from qsdnn_primitives.ncnn.operator import (
    Fragment,
    Operator,
    Param,
    Weight,
    resolve,
    shape_params,
)
from qsdnn_primitives.ncnn.passes import MASK_PARAM, MASKS
from qsdnn_primitives.plain.node import Shape, static_shape

SCHEMA = "qsdnn.ncnn/1"

_MAGIC = 7767517  # the first line of ncnn's text format
_ARRAY_PARAM = -23300  # a parameter that is an array has this number minus its own
_SPLIT = "/split"
INLINE_BYTES = 1024
"""The largest piece that is written into the artifact; larger ones get a file of their own."""

_FLOAT32 = bytes(4)
_ITEM_BYTES = 4


def write_network(segment: Segment, fragments: Sequence[Fragment], folder: Path) -> list[str]:
    """Writes a network, and puts the files that hold its weights beside it.

    Args:
        segment: The segment that the network computes.
        fragments: The fragment of each layer.
        folder: The folder to write to; files in it are kept, as files are named by their content.

    Returns:
        The names of the files, the network first.
    """
    aliases = {name: blob for part in fragments for name, blob in part.aliases.items()}
    shapes = {name: _shape(segment, name) for name in (*segment.inputs, *segment.outputs)}
    blobs = [resolve(name, aliases) for name in segment.outputs]
    operators, blobs = _single_readers(_operators(segment, fragments, aliases, shapes), blobs)
    numbers = {blob: i for i, blob in enumerate(b for o in operators for b in o.outputs)}
    weights = WeightsFile(segment.graph.weights, folder)
    spans = {operator.name: weights.append(operator.weights) for operator in operators}
    document = {
        "schema": SCHEMA,
        "param": _text(operators, numbers),
        "inputs": [_side(segment, name, numbers[name], shapes[name]) for name in segment.inputs],
        "outputs": [
            _side(segment, name, numbers[blob], shapes[name])
            for name, blob in zip(segment.outputs, blobs, strict=True)
        ],
        "weights": weights.pieces,
        "spans": {name: span for name, span in spans.items() if span[0] < span[1]},
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return [write_content(content, ".json", folder), *weights.files]


def _side(segment: Segment, name: str, blob: int, shape: Shape) -> dict[str, object]:
    layout = segment.layouts.get(name)
    packed = {} if layout is None else {"pack": block_of(layout)}
    return {"name": name, "blob": blob, "shape": list(shape), **packed}


def _shape(segment: Segment, name: str) -> Shape:
    shape = segment.graph.tensors[name].shape
    assert shape is not None
    return shape[1:]


def _operators(
    segment: Segment,
    fragments: Sequence[Fragment],
    aliases: Mapping[str, str],
    shapes: Mapping[str, Shape],
) -> list[Operator]:
    """All operators: Input operators first, convolutions masked to the chosen algorithm."""
    operators = [
        Operator(
            kind="Input",
            name=f"input:{index}",
            inputs=(),
            outputs=(name,),
            params=shape_params(shapes[name]),
        )
        for index, name in enumerate(segment.inputs)
    ]
    for choice, fragment in zip(segment.choices, fragments, strict=True):
        mask = MASKS[choice.algorithm]
        for operator in fragment.operators:
            masked = bool(mask) and operator.kind == "Convolution"
            operators.append(
                dataclasses.replace(
                    operator,
                    inputs=tuple(resolve(name, aliases) for name in operator.inputs),
                    params={**operator.params, MASK_PARAM: mask} if masked else operator.params,
                )
            )
    return operators


def _single_readers(
    operators: Sequence[Operator], outputs: Sequence[str]
) -> tuple[list[Operator], list[str]]:
    """Gives each reader of a blob a blob of its own, as ncnn wants; an output counts as a reader.

    Returns:
        The operators, with a Split after each blob that has several readers; and the outputs'
        blobs.
    """
    uses = Counter([name for operator in operators for name in operator.inputs] + list(outputs))
    taken: Counter[str] = Counter()

    def own(name: str) -> str:
        taken[name] += 1
        return name if uses[name] == 1 else f"{name}\0{taken[name]}"

    found = []
    for operator in operators:
        inputs = tuple(own(name) for name in operator.inputs)
        found.append(dataclasses.replace(operator, inputs=inputs))
        for number, name in enumerate(operator.outputs):
            if uses[name] > 1:
                copies = tuple(f"{name}\0{copy}" for copy in range(1, uses[name] + 1))
                label = f"{operator.name}{_SPLIT}{number}"
                found.append(Operator(kind="Split", name=label, inputs=(name,), outputs=copies))
    return found, [own(name) for name in outputs]


def _text(operators: Sequence[Operator], numbers: Mapping[str, int]) -> str:
    """The network in ncnn's text format; blobs are named by their index."""
    lines = [str(_MAGIC), f"{len(operators)} {len(numbers)}"]
    for operator in operators:
        blobs = [str(numbers[name]) for name in (*operator.inputs, *operator.outputs)]
        counts = (str(len(operator.inputs)), str(len(operator.outputs)))
        params = [_param(number, value) for number, value in sorted(operator.params.items())]
        lines.append(" ".join((operator.kind, operator.name, *counts, *blobs, *params)))
    return "\n".join(lines) + "\n"


def _param(number: int, value: Param) -> str:
    if isinstance(value, tuple):
        texts = (str(len(value)), *(_number(element) for element in value))
        return f"{_ARRAY_PARAM - number}={','.join(texts)}"
    return f"{number}={_number(value)}"


def _number(value: float) -> str:
    """A number as text; ncnn reads a number without a point as an integer."""
    return str(int(value)) if isinstance(value, int) else f"{value:.9e}"


class WeightsFile:
    """ncnn's file of weights, as pieces.

    ncnn reads weights in the order of the operators, from one file. Two segments that share a layer
    would hold its weights twice, and a search builds hundreds of segments. So an artifact names
    pieces, mostly of the graph's own file of weights, which is stored and sent once; the board puts
    the pieces together when it loads the network.

    Attributes:
        pieces: The pieces in order: ``{"file", "offset", "size_bytes"}``, or ``{"data": base64}``.
        files: The names of the files that the pieces are of.

    Args:
        weights: The graph's file of weights.
        folder: The folder in which files are put.
    """

    def __init__(self, weights: Path, folder: Path) -> None:
        self.pieces: list[dict[str, Any]] = []
        self.files: list[str] = []
        self._weights = weights
        self._folder = folder
        self._size_bytes = 0

    def append(self, weights: Sequence[Weight]) -> tuple[int, int]:
        """Adds the weights of an operator.

        Returns:
            The begin and the end of the operator's weights, in bytes.
        """
        begin = self._size_bytes
        for weight in weights:
            if weight.tagged:
                self._inline(_FLOAT32)
            self._add(weight)
        return begin, self._size_bytes

    def _add(self, weight: Weight) -> None:
        tensor = weight.value.const_value
        own = isinstance(tensor, ir.ExternalTensor) and Path(tensor.location).name
        if weight.convert is None and own == self._weights.name:
            assert isinstance(tensor, ir.ExternalTensor)
            file = link_file(self._weights, self._folder)
            size_bytes = prod(static_shape(weight.value)) * _ITEM_BYTES
            self._slice(file, tensor.offset or 0, size_bytes)
            return
        content = weight.array().tobytes()
        if len(content) <= INLINE_BYTES:
            self._inline(content)
        else:
            self._slice(write_content(content, ".bin", self._folder), 0, len(content))

    def _slice(self, file: str, offset: int, size_bytes: int) -> None:
        self.pieces.append({"file": file, "offset": offset, "size_bytes": size_bytes})
        self._size_bytes += size_bytes
        if file not in self.files:
            self.files.append(file)

    def _inline(self, content: bytes) -> None:
        self.pieces.append({"data": base64.b64encode(content).decode("ascii")})
        self._size_bytes += len(content)
