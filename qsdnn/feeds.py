"""Inputs for a network: random ones from a seed, or the user's from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qsdnn.errors import InputError

if TYPE_CHECKING:
    from qsdnn.graph.layer import Tensor

Feeds = Mapping[str, np.ndarray[Any, Any]]


def random_feeds(inputs: Mapping[str, Tensor], seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Random inputs: normal for floats, zeros and ones for the rest (valid as any index or mask).

    Args:
        inputs: The network's inputs by name.
        seed: The same seed gives the same inputs.
    """
    rng = np.random.default_rng(seed)
    return {name: _random(tensor, rng) for name, tensor in inputs.items()}


def _random(tensor: Tensor, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if tensor.shape is None or not tensor.dtype:
        raise InputError(
            f"input '{tensor.name}' is no plain tensor: no random values can be made for it",
            hint="give some: --input file.npz",
        )
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(tensor.shape).astype(dtype)
    return rng.integers(0, 2, size=tensor.shape).astype(dtype)


def read_feeds(path: Path, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs from an ``.npz`` file with one array for each input of the network.

    Args:
        path: The file.
        inputs: The network's inputs by name.

    Raises:
        InputError: The file is unreadable, or an array is missing, unknown or of another shape or
            dtype.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            feeds = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"cannot read inputs from {path}: {error}",
            hint="write them with numpy.savez(FILE, **{input_name: array})",
        ) from error
    if set(feeds) != set(inputs):
        raise InputError(f"{path} holds {sorted(feeds)}, the network takes {sorted(inputs)}")
    for name, array in feeds.items():
        tensor = inputs[name]
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            raise InputError(
                f"{path}: '{name}' is {array.dtype}{list(array.shape)}, "
                f"the network takes {tensor.dtype}{list(tensor.shape or ())}"
            )
    return feeds
