"""Inputs as the caller gives them, checked against what the package expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from qsdnn_runtime.program.manifest import TensorSpec

# onnxruntime's names of the element types that numpy names otherwise
_TYPES = {"float32": "float", "float64": "double"}


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
