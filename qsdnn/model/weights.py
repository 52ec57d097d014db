"""The weights of a model in one file, which segments of the model share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.files import part_file

# Smaller ones stay in the graph, where shape inference and constant folding look at them.
_INLINE_BYTES = 1024
# A cache line, and what any vector unit wants.
_ALIGNMENT_BYTES = 64

_Bytes = NDArray[np.uint8]


def externalize(model: ir.Model, folder: Path) -> Path:
    """Moves every large initializer to one file, named by its content.

    The initializers become `onnx_ir.ExternalTensor`s into the file; equal ones share their bytes.
    Strings and types of less than a byte stay.

    Args:
        model: The model, changed in place.
        folder: The folder that the file is written into.

    Returns:
        The file, ``<first 16 hex digits of its sha256>.bin``; it may be empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = list(_large(model))
    with part_file(folder) as file:
        offsets, digest = _write(values, file)
        file.flush()
        path = folder / f"{digest[:16]}.bin"
        os.replace(file.name, path)
    for value, offset in zip(values, offsets, strict=True):
        value.const_value = _external(value, path, offset)
    return path


def _large(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                continue
            if tensor.dtype.bitwidth >= 8 and tensor.nbytes > _INLINE_BYTES:
                yield value


def _write(values: list[ir.Value], file: IO[bytes]) -> tuple[list[int], str]:
    """Writes each distinct content once; returns the offset of each value, and the sha256."""
    digest = hashlib.sha256()
    written: dict[tuple[int, bytes], list[tuple[int, _Bytes]]] = {}
    offsets, end = [], 0
    for value in values:
        content = _content(value)
        alike = written.setdefault((content.size, content[:64].tobytes()), [])
        found = next((at for at, other in alike if np.array_equal(content, other)), None)
        if found is None:
            padding = bytes(-end % _ALIGNMENT_BYTES)
            for part in (padding, content.data):
                file.write(part)
                digest.update(part)
            found = end + len(padding)
            end = found + content.size
            alike.append((found, content))
        offsets.append(found)
    return offsets, digest.hexdigest()


def _content(value: ir.Value) -> _Bytes:
    """The bytes of a tensor, without a copy where it is in memory."""
    assert value.const_value is not None
    array = np.ascontiguousarray(value.const_value.numpy())
    return array.reshape(-1).view(np.uint8)


def _external(value: ir.Value, path: Path, offset: int) -> ir.ExternalTensor:
    tensor = value.const_value
    assert tensor is not None
    return ir.ExternalTensor(
        path.name,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=str(value.name),
        base_dir=path.parent.resolve(),
    )
