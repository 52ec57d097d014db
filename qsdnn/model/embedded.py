"""Weights embedded in a model's file: left there while the model is read, and put back into it.

Parsing a file of 500 MB takes memory for the file and for the model. The large weights of a graph
are found by the wire format of protocol buffers alone; what is parsed then has references to them
in their place, as ONNX has for external data: the external file is the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

LARGE_BYTES = 1 << 16
"""The size from which on weights stay in the file."""

_GRAPH = 7  # of ModelProto, the numbers of onnx.proto
_INITIALIZER = 5  # of GraphProto
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14  # of TensorProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_EXTERNAL = 1  # of TensorProto.DataLocation

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}

Piece = bytes | memoryview
"""A part of a message as it is written."""


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        number: The number of the field.
        wire: The wire type of the field.
        start: The position of the field's tag.
        value: The position of the field's content, after its length.
        end: The position after the field.
    """

    number: int
    wire: int
    start: int
    value: int
    end: int


def detached(content: memoryview, location: str) -> bytes:
    """A serialized model whose large weights are references into a file that has the same bytes.

    Args:
        content: The serialized model.
        location: The name of the file, for the references.

    Raises:
        ValueError: The content is no message, or is truncated.
    """

    def tensor(fields: Sequence[Field]) -> Iterator[Piece]:
        raw = [field for field in fields if field.number == _RAW_DATA and field.wire == _BYTES]
        taken = raw[0] if len(raw) == 1 and raw[0].end - raw[0].value >= LARGE_BYTES else None
        yield from (content[field.start : field.end] for field in fields if field is not taken)
        if taken is not None:
            places = {"location": location, "offset": taken.value}
            for key, value in {**places, "length": taken.end - taken.value}.items():
                pair = [_entry(_KEY, [key.encode()]), _entry(_VALUE, [str(value).encode()])]
                yield from _entry(_EXTERNAL_DATA, [piece for part in pair for piece in part])
            yield bytes([_DATA_LOCATION << 3 | _VARINT, _EXTERNAL])

    return b"".join(_with_tensors(content, tensor))


def attached(content: memoryview, location: str, file: memoryview) -> Iterator[Piece]:
    """The pieces of a serialized model with its weights in it again; the inverse of `detached`.

    Args:
        content: The serialized model, perhaps changed since, with references to weights.
        location: The name of the file that the references to put back have.
        file: The content of that file.
    """

    def tensor(fields: Sequence[Field]) -> Iterator[Piece]:
        found = dict(_pair(content, f) for f in fields if f.number == _EXTERNAL_DATA)
        if found.get("location") != location:
            yield from (content[field.start : field.end] for field in fields)
            return
        dropped = (_EXTERNAL_DATA, _DATA_LOCATION)
        yield from (content[f.start : f.end] for f in fields if f.number not in dropped)
        offset, length = int(found["offset"]), int(found["length"])
        yield from _entry(_RAW_DATA, [file[offset : offset + length]])

    yield from _with_tensors(content, tensor)


def _with_tensors(
    content: memoryview, change: Callable[[Sequence[Field]], Iterator[Piece]]
) -> Iterator[Piece]:
    """The pieces of a model in which each initializer's fields were changed."""
    for part in _fields(content, 0, len(content)):
        if part.number != _GRAPH or part.wire != _BYTES:
            yield content[part.start : part.end]
            continue
        pieces: list[Piece] = []
        for field in _fields(content, part.value, part.end):
            if field.number == _INITIALIZER and field.wire == _BYTES:
                changed = list(change(list(_fields(content, field.value, field.end))))
                pieces += _entry(_INITIALIZER, changed)
            else:
                pieces.append(content[field.start : field.end])
        yield from _entry(_GRAPH, pieces)


def _fields(content: memoryview, position: int, end: int) -> Iterator[Field]:
    """The fields of the message between two positions."""
    while position < end:
        start = position
        tag, position = _number(content, position, end)
        number, wire = tag >> 3, tag & 7
        value = position
        if wire == _VARINT:
            _, position = _number(content, position, end)
        elif wire == _BYTES:
            length, value = _number(content, position, end)
            position = value + length
        elif wire in _FIXED:
            position += _FIXED[wire]
        else:
            raise ValueError(f"no wire type: {wire}")
        if position > end:
            raise ValueError("a field ends after its message")
        yield Field(number, wire, start, value, position)


def _number(content: memoryview, position: int, end: int) -> tuple[int, int]:
    """A number in base 128, lowest digits first, and the position after it."""
    value = shift = 0
    while position < end:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ValueError("a number ends after its message")


def _entry(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """A field with its content."""
    return [bytes([number << 3 | _BYTES]) + _digits(sum(map(len, pieces))), *pieces]


def _digits(value: int) -> bytes:
    """A number in base 128, lowest digits first."""
    digits = []
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _pair(content: memoryview, field: Field) -> tuple[Any, str]:
    """The key and the value of an entry."""
    parts = {
        part.number: bytes(content[part.value : part.end]).decode()
        for part in _fields(content, field.value, field.end)
    }
    return parts.get(_KEY, ""), parts.get(_VALUE, "")
