"""A writer of flatbuffers: tables, vectors and strings, each behind what refers to it.

The format is that of https://flatbuffers.dev/internals. References point forward only, so a parent
is written first and its references are set as its children follow. Nothing is shared. Large vectors
of bytes are left out of the result: there is a place for each behind the end.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

REFERENCE = struct.Struct("<I")
BLOB_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number in a table.

    Attributes:
        format: The format of the number, a letter of the module `struct`.
        value: The number.
    """

    format: str
    value: float


@dataclass(frozen=True, slots=True)
class Blob:
    """A vector of bytes that is kept elsewhere.

    Attributes:
        key: The number by which its place is told.
        size_bytes: The number of bytes.
    """

    key: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        fields: The fields that are set, by their number in the schema.
    """

    fields: Mapping[int, Node] = field(default_factory=dict)


Node = Scalar | Blob | Table | str | NDArray[np.generic] | Sequence[Table]


@dataclass(frozen=True, slots=True)
class Flatbuffer:
    """A flatbuffer without its blobs.

    Attributes:
        head: The bytes from the beginning up to the first blob.
        places: The position of the content of each blob, by its key, in bytes from the beginning.
            Right before it goes the blob's size, 4 bytes, little endian.
        size_bytes: The size of the whole.
    """

    head: bytes
    places: Mapping[int, int]
    size_bytes: int


def encode(root: Table, identifier: bytes) -> Flatbuffer:
    """Writes a tree of tables.

    Args:
        root: The table that all others are below.
        identifier: The four bytes that tell the kind of file.
    """
    writer = _Writer(identifier)
    writer.refer(0, root)
    return writer.finish()


class _Writer:
    def __init__(self, identifier: bytes) -> None:
        self._content = bytearray(REFERENCE.size) + identifier
        self._blobs: list[tuple[int, Blob]] = []

    def refer(self, slot: int, node: Node) -> None:
        """Writes a node at the end, and its position into a slot before it."""
        if isinstance(node, Blob):
            self._blobs.append((slot, node))
        else:
            self._point(slot, self._write(node))

    def finish(self) -> Flatbuffer:
        end = len(self._content)
        places = {}
        for slot, blob in self._blobs:
            place = -(-(end + REFERENCE.size) // BLOB_ALIGNMENT) * BLOB_ALIGNMENT
            self._point(slot, place - REFERENCE.size)
            places[blob.key] = place
            end = place + blob.size_bytes
        return Flatbuffer(bytes(self._content), places, end)

    def _point(self, slot: int, position: int) -> None:
        REFERENCE.pack_into(self._content, slot, position - slot)

    def _write(self, node: Node) -> int:
        if isinstance(node, Table):
            return self._table(node)
        if isinstance(node, str):
            return self._vector(np.frombuffer(node.encode(), np.uint8), ending=b"\0")
        if isinstance(node, np.ndarray):
            return self._vector(node)
        assert not isinstance(node, Scalar | Blob)
        return self._tables(node)

    def _table(self, table: Table) -> int:
        """A table right behind its list of fields; the widest fields first, so that all align."""
        formats = {n: v.format if isinstance(v, Scalar) else "I" for n, v in table.fields.items()}
        order = sorted(formats, key=lambda number: -struct.calcsize("<" + formats[number]))
        places, size = {}, REFERENCE.size
        for number in order:
            width = struct.calcsize("<" + formats[number])
            size = -(-size // width) * width
            places[number] = size
            size += width
        count = max(places, default=-1) + 1
        listed_bytes = 2 * (2 + count)
        self._pad(8, listed_bytes)
        self._content += struct.pack("<HH", listed_bytes, size)
        self._content += struct.pack(f"<{count}H", *(places.get(n, 0) for n in range(count)))
        position = len(self._content)
        self._content += struct.pack("<i", listed_bytes) + bytes(size - REFERENCE.size)
        for number, place in places.items():
            node = table.fields[number]
            if isinstance(node, Scalar):
                struct.pack_into("<" + node.format, self._content, position + place, node.value)
            else:
                self.refer(position + place, node)
        return position

    def _vector(self, values: NDArray[np.generic], ending: bytes = b"") -> int:
        self._pad(max(16, values.itemsize), REFERENCE.size)
        position = len(self._content)
        self._content += REFERENCE.pack(values.size) + values.tobytes() + ending
        return position

    def _tables(self, tables: Sequence[Table]) -> int:
        self._pad(REFERENCE.size)
        position = len(self._content)
        self._content += REFERENCE.pack(len(tables)) + bytes(REFERENCE.size * len(tables))
        for index, table in enumerate(tables, 1):
            self.refer(position + REFERENCE.size * index, table)
        return position

    def _pad(self, alignment: int, skipped_bytes: int = 0) -> None:
        """Fills up so that what lies behind the next bytes is aligned."""
        self._content += bytes(-(len(self._content) + skipped_bytes) % alignment)
