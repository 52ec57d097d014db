"""Values of a network's inputs and outputs: checked, packed for a stream, compared."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from qsdnn_runtime.frames import FrameError
from qsdnn_runtime.program.manifest import TensorSpec

# onnxruntime's names of the element types that numpy names otherwise
_TYPES = {"float32": "float", "float64": "double"}
# The kinds of numbers, whose bytes mean the same on both sides. Objects would need pickle.
NUMBER_KINDS = "biufc"
TINY = float(np.finfo(np.float32).tiny)


class FeedError(ValueError):
    """An input is missing, unknown, or of the wrong type or shape; or an output is unknown."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output, as `onnxruntime.NodeArg` describes it.

    Attributes:
        name: The name of the tensor in feeds and results.
        shape: The dimensions; None where they depend on data.
        type: The type, ``tensor(float)`` and the like; ``""`` where numpy has no such type.
    """

    name: str
    shape: Optional[List[int]]
    type: str


def describe(tensor: TensorSpec) -> NodeArg:
    """A tensor's description in onnxruntime's words."""
    element = _TYPES.get(tensor.dtype, tensor.dtype)
    return NodeArg(
        name=tensor.name,
        shape=None if tensor.shape is None else list(tensor.shape),
        type="tensor(%s)" % element if element else "",
    )


def check_feeds(
    tensors: Sequence[TensorSpec], feeds: Mapping[str, Any], partial: bool = False
) -> Dict[str, Any]:
    """The feeds as arrays, each of the type and shape expected.

    Args:
        tensors: The inputs of the package.
        feeds: A value for each input. A value of a static input comes back as an array (not copied
            if it was an array); any other value is passed on as it is.
        partial: Whether some inputs may be left out.

    Raises:
        FeedError: The feeds do not fit; the message names the input.
    """
    known = [tensor.name for tensor in tensors]
    for name in feeds:
        if name not in known:
            raise FeedError("unknown input '%s'; known: %s" % (name, _join(known)))
    for name in known:
        if name not in feeds and not partial:
            raise FeedError("input '%s' is missing; needed: %s" % (name, _join(known)))
    return {t.name: _check(t, feeds[t.name]) for t in tensors if t.name in feeds}


def check_outputs(known: Sequence[str], names: Optional[Sequence[str]]) -> Sequence[str]:
    """The outputs asked for: all of them when `names` is None or empty.

    Raises:
        FeedError: An output's name is unknown.
    """
    for name in names or ():
        if name not in known:
            raise FeedError("unknown output '%s'; known: %s" % (name, _join(known)))
    return names or known


def check_buffer(tensor: TensorSpec, array: np.ndarray) -> np.ndarray:
    """A caller's own array, if an engine can work on it in place.

    Raises:
        FeedError: The array's type, shape or memory does not allow that.
    """
    if not tensor.static:
        raise FeedError("'%s' has no fixed shape: no array can be bound to it" % tensor.name)
    if not isinstance(array, np.ndarray):
        raise FeedError("'%s': only a numpy array can be bound" % tensor.name)
    _check(tensor, array)
    if not array.flags.carray:
        raise FeedError("'%s': the array must be contiguous, aligned and writable" % tensor.name)
    return array


def _check(tensor: TensorSpec, value: Any) -> Any:
    if not tensor.static:
        return value
    array = np.asarray(value)
    if array.dtype != tensor.dtype:
        raise FeedError(
            "input '%s': expected %s, got %s" % (tensor.name, tensor.dtype, array.dtype)
        )
    if array.shape != tensor.shape:
        raise FeedError(
            "input '%s': expected shape %s, got %s"
            % (tensor.name, list(tensor.shape or ()), list(array.shape))
        )
    return array


def _join(names: Sequence[str]) -> str:
    return ", ".join("'%s'" % name for name in names) or "none"


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


def max_error(got: Mapping[str, Any], want: Mapping[str, Any]) -> float:
    """The largest difference of any output, relative to the largest magnitude in its reference.

    Args:
        got: The outputs, by name.
        want: The reference, by name.

    Returns:
        0 when equal; infinite when an output is missing, has another type or shape, other NaNs or
        infinities, or differs where only equality will do (integers, booleans, strings).
    """
    if set(got) != set(want):
        return math.inf
    return max((_error(got[name], want[name]) for name in want), default=0.0)


def _error(got: Any, want: Any) -> float:
    if got is None or want is None:
        return 0.0 if got is want else math.inf
    if isinstance(want, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(want):
            return math.inf
        return max((_error(a, b) for a, b in zip(got, want)), default=0.0)
    return _array_error(np.asarray(got), np.asarray(want))


def _array_error(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape or got.dtype.kind != want.dtype.kind:
        return math.inf
    if want.dtype.kind not in "fc":
        same = got.dtype == want.dtype or want.dtype.kind in "OU"
        return 0.0 if same and np.array_equal(got, want) else math.inf
    if got.dtype != want.dtype:
        return math.inf
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    got, want = got.astype(wide), want.astype(wide)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return math.inf
    if not np.isfinite(got[finite]).all():
        return math.inf
    if not finite.any():
        return 0.0
    difference = np.abs(got[finite] - want[finite]).max()
    return float(difference / max(np.abs(want[finite]).max(), TINY))
