"""The artifact of a segment: a TensorFlow Lite model up to its weights, and where these are.

The main file begins with the model's tables. The options say what lies behind::

    {"size_bytes": 81920,                 # of the whole model
     "weights": [{"at": 4160, "file": NAME, "offset": 64, "size_bytes": 1728}],
     "operators": [0, 0, 1],              # the layer of each operator
     "profile": {"file", "size_bytes", "weights",      # a model with a graph for each layer
                 "inputs": [0], "outputs": [2],        # numbers of the segment's tensors
                 "layers": [{"layer": 0, "inputs": [0], "outputs": [1]}]}}
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.scratch import scratch_file

CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Piece:
    """A constant of a model: its place in the model, and where it is read from."""

    at: int
    path: Path
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Model:
    """A model in pieces.

    Attributes:
        head: The file that the model begins with.
        pieces: The constants behind it, in order.
        size_bytes: The size of the whole.
    """

    head: Path
    pieces: Tuple[Piece, ...]
    size_bytes: int


@dataclass(frozen=True)
class Part:
    """A layer's graph: the layer, and the numbers of the tensors that it reads and makes."""

    layer: int
    inputs: Tuple[int, ...]
    outputs: Tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """A model with a graph for each layer.

    Attributes:
        model: The model.
        inputs: The numbers of the segment's inputs.
        outputs: The numbers of the segment's outputs.
        parts: The graphs, in order.
    """

    model: Model
    inputs: Tuple[int, ...]
    outputs: Tuple[int, ...]
    parts: Tuple[Part, ...]


def read_model(head: Path, options: Mapping[str, Any]) -> Model:
    """Reads where a model's pieces are.

    Raises:
        EngineError: The options are not as described, or a file is missing or too short.
    """
    try:
        pieces = tuple(
            Piece(
                int(piece["at"]),
                head.parent / str(piece["file"]),
                int(piece["offset"]),
                int(piece["size_bytes"]),
            )
            for piece in options["weights"]
        )
        model = Model(head, pieces, int(options["size_bytes"]))
        end = head.stat().st_size
        for piece in pieces:
            if piece.at < end + 4 or min(piece.offset, piece.size_bytes) < 0:
                raise ValueError("the weights at %d lie over others" % piece.at)
            if piece.path.stat().st_size < piece.offset + piece.size_bytes:
                raise ValueError("%s is too short" % piece.path)
            end = piece.at + piece.size_bytes
        if end != model.size_bytes:
            raise ValueError("it has %d bytes, not %d" % (end, model.size_bytes))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("%s cannot be put together: %r" % (head, error)) from error
    return model


def read_profile(folder: Path, options: Mapping[str, Any]) -> Profile:
    """Reads the model with a graph for each layer.

    Raises:
        EngineError: The options are not as described.
    """
    try:
        found: Dict[str, Any] = options["profile"]
        parts: List[Part] = [
            Part(int(part["layer"]), _numbers(part["inputs"]), _numbers(part["outputs"]))
            for part in found["layers"]
        ]
        head, inputs, outputs = folder / found["file"], found["inputs"], found["outputs"]
        return Profile(read_model(head, found), _numbers(inputs), _numbers(outputs), tuple(parts))
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError("the artifact has no profile: %r" % error) from error


def _numbers(values: Any) -> Tuple[int, ...]:
    return tuple(int(value) for value in values)


@contextmanager
def model_file(model: Model) -> Iterator[str]:
    """A path to the whole model, in memory where the system has such files.

    An interpreter that was made of it keeps the memory.

    Raises:
        EngineError: A piece cannot be read.
    """
    with scratch_file("model") as (number, path):
        try:
            os.ftruncate(number, model.size_bytes)
            _copy(number, 0, model.head, 0, model.head.stat().st_size)
            for piece in model.pieces:
                os.pwrite(number, struct.pack("<I", piece.size_bytes), piece.at - 4)
                _copy(number, piece.at, piece.path, piece.offset, piece.size_bytes)
        except OSError as error:
            raise EngineError("weights cannot be read: %s" % error) from error
        yield path


def _copy(number: int, at: int, path: Path, offset: int, size_bytes: int) -> None:
    with path.open("rb") as file:
        file.seek(offset)
        left = size_bytes
        while left:
            content = file.read(min(left, CHUNK_BYTES))
            if not content:
                raise OSError("%s is too short" % path)
            at += os.pwrite(number, content, at)
            left -= len(content)
