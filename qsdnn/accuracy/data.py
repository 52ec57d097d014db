"""Reads a user's samples and labels from files: ``--calibration`` and ``--labels``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.accuracy.inputs import Inputs
from qsdnn.errors import InputError, unknown
from qsdnn.model.layer import Graph, Tensor

Array = NDArray[Any]

LABELS = "labels"
"""The name of the array in a samples' file that holds the right answers."""
SUFFIXES = (".npy", ".npz")
LABELED = "one whole number a sample: numpy.save('labels.npy', labels), or a line each in a .txt"
NAMED = "write them with numpy.savez(FILE, **{input_name: array})"


def read_inputs(path: Path, graph: Graph, labels: Path | None = None) -> Inputs:
    """The samples of a file or folder, and their labels if there are any.

    Args:
        path: An ``.npz`` (or ``.npy``) file with an array (samples, …) for each input; or a folder
            of such files with one sample each, taken in the order of their names.
        graph: The network.
        labels: ``.npy``, ``.npz``, ``.csv`` or ``.txt``; None takes the array ``labels`` of the
            samples' file, if it has one.

    Raises:
        InputError: Anything in these files is not usable; the message says which file and where in
            it.
    """
    tensors = {name: _plain(graph.tensors[name]) for name in graph.inputs}
    batch = _batch(graph)
    if path.is_dir():
        found, inside = _folder(path, tensors, batch), None
    elif path.exists():
        arrays, inside = _read(path, tensors)
        found = {name: _fit(array, tensors[name], batch, path) for name, array in arrays.items()}
    else:
        raise InputError(
            f"{path} does not exist", hint="give an .npz file, or a folder of .npy or .npz files"
        )
    samples = _agree({name: len(array) for name, array in found.items()}, path)
    answers = inside if labels is None else read_labels(labels)
    if answers is not None:
        _check_labels(answers, samples, labels or path, path)
    whole = Inputs(arrays=found, batch=batch, labels=answers, source=str(path))
    if samples < max(batch, 1):
        raise InputError(
            f"{path}: {samples} samples, but the network takes {max(batch, 1)} at a time",
            hint="give more samples",
        )
    return whole.take(np.arange(samples))


def read_labels(path: Path) -> Array:
    """The right answers (samples, …) from a file.

    Raises:
        InputError: The file is unreadable, or holds no numbers.
    """
    try:
        return _only(_load(path), path) if path.suffix in SUFFIXES else _from_text(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read labels from {path}: {error}", hint=LABELED) from error


def _from_text(path: Path) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an empty file: that is said below
        numbers = np.loadtxt(path, delimiter="," if path.suffix == ".csv" else None, ndmin=1)
    whole = np.isfinite(numbers).all() and np.array_equal(numbers, np.rint(numbers))
    return numbers.astype(np.int64) if whole else numbers


def _check_labels(labels: Array, samples: int, path: Path, source: Path) -> None:
    if labels.dtype.kind not in "iuf" or not labels.size:
        raise InputError(
            f"{path}: labels are numbers, here is {labels.dtype}{list(labels.shape)}", hint=LABELED
        )
    if labels.ndim == 0 or len(labels) != samples:
        count = len(labels) if labels.ndim else 1
        raise InputError(
            f"{path} has {count} labels, {source} has {samples} samples",
            hint="give one label for each sample, in the same order",
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(labels))[0])
        raise InputError(f"{path}: label {_at(at)} is {labels[at]}", hint="correct or drop it")


def _plain(tensor: Tensor) -> Tensor:
    if not tensor.static:
        raise InputError(
            f"input '{tensor.name}' is no plain tensor of fixed shape: no samples can be read for "
            "it",
            hint="leave out --calibration",
        )
    return tensor


def _batch(graph: Graph) -> int:
    """The first dimension of all inputs, if it is 1 or that of all outputs too; else 0."""

    def first(names: Sequence[str]) -> set[int]:
        shapes = [graph.tensors[name].shape for name in names]
        return {shape[0] if shape else 0 for shape in shapes}

    inputs = first(graph.inputs)
    common = inputs == {1} or inputs == first(graph.outputs)
    return inputs.pop() if common and len(inputs) == 1 else 0


def _folder(path: Path, tensors: Mapping[str, Tensor], batch: int) -> dict[str, Array]:
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        others = sorted(file.name for file in path.iterdir())
        more = ", …" if len(others) > 3 else ""
        holds = f"it holds {', '.join(others[:3])}{more}" if others else "it is empty"
        raise InputError(
            f"{path} has no .npy or .npz file: {holds}",
            hint="write each sample as the network takes it: numpy.save('0001.npy', array)",
        )
    samples: dict[str, list[Array]] = {name: [] for name in tensors}
    for file in files:
        arrays, inside = _read(file, tensors)
        if inside is not None:
            raise InputError(
                f"{file} has an array '{LABELS}'", hint="give labels of a folder by --labels"
            )
        for name, array in arrays.items():
            tensor = tensors[name]
            single = array[None] if array.shape == _sample(tensor, batch) else array
            samples[name].append(_fit(single, tensor, batch, file))
    return {name: np.concatenate(parts) for name, parts in samples.items()}


def _read(path: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Array], Array | None]:
    """The arrays of a file, by the input that each is for, and the labels in it (None without)."""
    arrays = _load(path)
    found = dict(arrays)
    labels = None if LABELS in tensors else found.pop(LABELS, None)
    if len(tensors) == 1 and len(found) == 1:  # its name does not matter
        found = dict(zip(tensors, found.values(), strict=True))
    for name in found:
        if name not in tensors:
            error = unknown("input", name, tensors)
            raise InputError(f"{path}: {error.message}", hint=error.hint)
    for name in tensors:
        if name not in found:
            raise InputError(
                f"{path}: no array for input '{name}'; it has: {', '.join(arrays) or 'none'}",
                hint=NAMED,
            )
    return found, labels


def _load(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:  # of a damaged zip numpy would leave the file open
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {path.stem: content}
            return {name: content[name] for name in content.files}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", hint=NAMED) from error
    except Exception as error:  # damaged zips raise anything, from zlib.error to EOFError
        raise InputError(
            f"cannot read {path}: it is no .npz or .npy file of numbers", hint=NAMED
        ) from error


def _only(arrays: Mapping[str, Array], path: Path) -> Array:
    if LABELS in arrays:
        return arrays[LABELS]
    if len(arrays) != 1:
        raise InputError(
            f"{path} holds {', '.join(arrays) or 'nothing'}", hint=f"name one of them '{LABELS}'"
        )
    return next(iter(arrays.values()))


def _fit(array: Array, tensor: Tensor, batch: int, path: Path) -> Array:
    """An array (samples, *sample) of the tensor's type, from such an array or (runs, *shape)."""
    where = f"{path}: input '{tensor.name}'"
    sample = _sample(tensor, batch)
    if batch and array.ndim == len(sample) + 2 and array.shape[1:] == tensor.shape:
        array = array.reshape(-1, *sample)
    if array.ndim == 0 or array.shape[1:] != sample:
        expected = ", ".join(map(str, ("samples", *sample)))
        raise InputError(
            f"{where}: expected shape [{expected}], got {list(array.shape)}",
            hint="prepare the samples as for the network itself",
        )
    return _finite(_cast(array, np.dtype(tensor.dtype), where), where)


def _sample(tensor: Tensor, batch: int) -> tuple[int, ...]:
    shape = tensor.shape or ()
    return shape[1:] if batch else shape


def _cast(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    """An array cast to the network's type: between floats, and where no value can change."""
    if array.dtype == dtype:
        return array
    floats = array.dtype.kind == dtype.kind == "f"
    whole = dtype.kind in "iu" and array.dtype.kind in "iu"
    if floats or (whole and np.can_cast(array.dtype, dtype, "safe")):
        with np.errstate(over="ignore"):  # what becomes infinite is found below
            return array.astype(dtype)
    if dtype.kind == "f" and array.dtype.kind in "iu":
        hint = f"convert and scale as in training, e.g. array.astype(numpy.{dtype}) / 255"
    else:
        hint = f"convert them if that is what the network was trained on: array.astype('{dtype}')"
    raise InputError(f"{where}: expected {dtype}, got {array.dtype}", hint=hint)


def _finite(array: Array, where: str) -> Array:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"{where}: the value at {_at(at)} is {array[at]}",
            hint="drop that sample, or correct what made it",
        )
    return array


def _agree(counts: Mapping[str, int], path: Path) -> int:
    if len(set(counts.values())) > 1:
        told = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise InputError(
            f"{path}: its inputs have different numbers of samples: {told}",
            hint="give as many of each, in the same order",
        )
    return next(iter(counts.values()))


def _at(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"
