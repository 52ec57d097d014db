"""Inputs and outputs of a network as a JSON description and raw bytes."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from qsdnn_runtime.frames import FrameError

# The kinds of numbers, whose bytes mean the same on both sides. Objects would need pickle.
NUMBER_KINDS = "biufc"


def pack_values(values: Mapping[str, Any]) -> Tuple[Dict[str, Any], List[bytes]]:
    """Describes values; also gives the bytes that the descriptions speak of, in the same order.

    Args:
        values: Arrays of numbers or of strings, lists of such arrays (sequences), or None (an
            absent optional), by name.

    Raises:
        FrameError: A value is of another kind.
    """
    pieces: List[bytes] = []
    return {name: _pack(name, value, pieces) for name, value in values.items()}, pieces


def unpack_values(descriptions: Mapping[str, Any], payload: bytes) -> Dict[str, Any]:
    """The inverse of `pack_values`; arrays are copies, aligned and writable.

    Raises:
        FrameError: A description is malformed, or the payload is not of the size described.
    """
    reader = _Reader(payload)
    try:
        values = {name: _unpack(entry, reader) for name, entry in descriptions.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FrameError("malformed description of a value: %r" % error) from error
    if reader.offset != len(payload):
        raise FrameError("%d bytes that no value describes" % (len(payload) - reader.offset))
    return values


def _pack(name: str, value: Any, pieces: List[bytes]) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_pack(name, item, pieces) for item in value]
    array = np.asarray(value)
    if array.dtype.kind in NUMBER_KINDS:
        pieces.append(array.tobytes())
        return {"dtype": array.dtype.str, "shape": list(array.shape)}
    texts = array.ravel().tolist()
    if all(isinstance(text, str) for text in texts):
        pieces.append(json.dumps(texts).encode())
        return {"dtype": "str", "shape": list(array.shape), "size_bytes": len(pieces[-1])}
    raise FrameError("%s: values of type %s cannot be sent" % (name, array.dtype))


def _unpack(entry: Any, reader: _Reader) -> Any:
    if entry is None:
        return None
    if isinstance(entry, list):
        return [_unpack(item, reader) for item in entry]
    shape = [int(size) for size in entry["shape"]]
    if any(size < 0 for size in shape):
        raise FrameError("a negative dimension: %s" % shape)
    if entry["dtype"] == "str":
        texts = json.loads(reader.take(int(entry["size_bytes"])).decode())
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(shape)
    dtype = np.dtype(entry["dtype"])
    if dtype.kind not in NUMBER_KINDS:
        raise FrameError("values of type %s cannot be received" % dtype)
    data = reader.take(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape).copy()


class _Reader:
    """Takes a payload apart, piece by piece from its beginning."""

    def __init__(self, payload: bytes) -> None:
        self._payload = memoryview(payload)
        self.offset = 0

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self._payload) - self.offset:
            raise FrameError("a value of %d bytes reaches past the payload" % size)
        self.offset += size
        return bytes(self._payload[self.offset - size : self.offset])
