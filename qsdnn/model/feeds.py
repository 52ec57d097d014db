"""The inputs of a network: random ones from a seed, or the user's from a file."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from qsdnn.errors import InputError

if TYPE_CHECKING:
    from qsdnn.model.layer import Tensor

_NPY, _ZIP = b"\x93NUMPY", b"PK"


def random_feeds(inputs: Mapping[str, Tensor], seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """The random inputs: normal for floats, else zeros and ones (valid as any index or mask).

    Args:
        inputs: The network's inputs, by name.
        seed: The seed of every random number; the same seed gives the same inputs.
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
    """The inputs in a file of numpy's, one for every input of the network.

    Args:
        path: An ``.npz`` file with one array for each input; for a network with one input also an
            ``.npy`` file.
        inputs: The network's inputs, by name.

    Raises:
        InputError: The file is unreadable, or an array is missing, unknown or of another shape or
            dtype.
    """
    feeds = _read(path, inputs)
    if set(feeds) != set(inputs):
        raise InputError(
            f"{path} holds {_listed(feeds)}; the network takes {_listed(inputs)}",
            hint=_how_to_write(inputs),
        )
    for name, array in feeds.items():
        tensor = inputs[name]
        if tensor.shape is not None and array.shape != tensor.shape:
            raise InputError(
                f"{path}: '{name}' has the shape {list(array.shape)}, the network takes "
                f"{list(tensor.shape)}"
            )
        if array.dtype != tensor.dtype:
            raise InputError(
                f"{path}: '{name}' is {array.dtype}, the network takes {tensor.dtype}",
                hint=f"convert it before it is saved: array.astype('{tensor.dtype}')",
            )
    return {name: feeds[name] for name in inputs}


def _read(path: Path, inputs: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a file by name, that of an ``.npy`` file by the name of the only input."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_NPY))
            if not start.startswith((_NPY, _ZIP)):
                raise InputError(f"{path} is no .npz or .npy file", hint=_how_to_write(inputs))
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                arrays = {name: content for name in inputs} if len(inputs) == 1 else {}
            else:
                arrays = {name: content[name] for name in content.files}
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot read inputs from {path}: {reason}") from error
    except (ValueError, EOFError, KeyError, RuntimeError, BadZipFile, zlib.error) as error:
        raise InputError(
            f"cannot read inputs from {path}: it is damaged, or holds more than numbers: {error}",
            hint=_how_to_write(inputs),
        ) from error
    if not arrays and start.startswith(_NPY):
        raise InputError(
            f"{path} holds one array without a name; the network takes {_listed(inputs)}",
            hint=_how_to_write(inputs),
        )
    other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if other:
        raise InputError(f"{path}: {_listed(other)}: no array", hint=_how_to_write(inputs))
    return arrays


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "nothing"


def _how_to_write(inputs: Iterable[str]) -> str:
    """The Python that writes a file for these inputs, whatever characters are in their names."""
    pairs = ", ".join(f"{name!r}: …" for name in inputs)
    return f"write it with numpy.savez('inputs.npz', **{{{pairs}}})"
