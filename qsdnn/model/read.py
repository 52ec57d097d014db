"""The reading of an ONNX file, or the reason why it cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from qsdnn.errors import ModelError
from qsdnn.mapping import mapped
from qsdnn.model.embedded import detached

_CHUNK_BYTES = 1 << 24

# Types of which numpy has one element a byte, and ONNX several.
_PACKED_BITS = {
    getattr(onnx.TensorProto, name): bits
    for name, bits in {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.items()
    if hasattr(onnx.TensorProto, name)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model as it is on disk.

    Attributes:
        path: The model's file.
        sha256: The sha256 hash of the file's bytes, then of those of its external data files, by
            name.
        proto: The model, without its external data, and without its large weights: they are
            external data in the model's own file (`qsdnn.model.embedded`).
        data: The files of external data, by the name that the model calls them.
    """

    path: Path
    sha256: str
    proto: onnx.ModelProto = field(repr=False)
    data: Mapping[str, Path]

    @property
    def embedded(self) -> str | None:
        """The name by which tensors refer to weights in the model's own file, if any do."""
        return next((name for name, file in self.data.items() if file == self.path), None)


def read(path: Path) -> Source:
    """Reads a model, and checks that its external data is there.

    Raises:
        ModelError: The file is missing, no ONNX, truncated or empty, or its external data is
            missing or truncated.
    """
    with _content(path) as content:
        proto = _parse(path, content)
    tensors = [t for t in tensors_of(proto.graph) if uses_external_data(t)]
    data = _locate(path, tensors)
    for tensor in tensors:
        _check_extent(path, tensor, data)
    sha256 = hashlib.sha256()
    for file in (path, *(data[name] for name in sorted(data) if data[name] != path)):
        _hash_file(file, sha256)
    return Source(path=path, sha256=sha256.hexdigest(), proto=proto, data=data)


def external_bytes(tensor: onnx.TensorProto, data: Mapping[str, Path]) -> NDArray[np.uint8]:
    """The bytes of an external tensor, mapped into memory and not read."""
    info = ExternalDataInfo(tensor)
    length = _size_bytes(tensor)
    if not length:
        return np.empty(0, np.uint8)
    file = data[info.location]
    return np.memmap(file, np.uint8, mode="r", offset=info.offset or 0, shape=(length,))


def load_external(tensor: onnx.TensorProto, data: Mapping[str, Path]) -> None:
    """Turns an external tensor into one that holds its bytes, in place."""
    content = external_bytes(tensor, data).tobytes()
    tensor.raw_data = content
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph: initializers and attributes, those of its bodies too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for body in bodies_of(attribute):
                yield from tensors_of(body)


def bodies_of(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


@contextmanager
def _content(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, mapped into memory and not read."""
    try:
        with mapped(path) as content:
            yield content
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file",
            hint="`qsdnn example squeezenet -o squeezenet.onnx` writes a model to try things on",
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, content: memoryview) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(detached(content, path.name))
    except (ValueError, DecodeError, RuntimeError) as error:
        raise _malformed(path, content) from error
    if not proto.HasField("graph") or (proto.ir_version >= 3 and not proto.opset_import):
        raise _malformed(path, content)
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(
            f"{path}: the graph is empty: it has {len(proto.graph.node)} nodes and "
            f"{len(proto.graph.output)} outputs",
            hint="export the model again",
        )
    return proto


def _malformed(path: Path, content: memoryview) -> ModelError:
    """The error for a file that does not parse, which says what the file most likely is."""
    if not content:
        return ModelError(f"{path}: the file is empty", hint="export or download it again")
    head = bytes(content[:4096])
    if head.startswith(b"version https://git-lfs"):
        return ModelError(f"{path}: a Git LFS pointer, not the model", hint="run `git lfs pull`")
    if not set(head) & (set(range(32)) - {9, 10, 12, 13}):
        return ModelError(
            f"{path}: a text file, not an ONNX model",
            hint="give the .onnx file that your framework exports",
        )
    return ModelError(
        f"{path}: not an ONNX model, or a truncated one ({len(content)} bytes)",
        hint="export or download it again",
    )


def _locate(path: Path, tensors: Iterable[onnx.TensorProto]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for tensor in tensors:
        name = ExternalDataInfo(tensor).location
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ModelError(f"{path}: external data '{name}' lies outside the model's folder")
        file = files[name] = path.parent / relative
        if not file.is_file():
            raise ModelError(
                f"{path}: its external data file '{name}' is missing (tensor '{tensor.name}')",
                hint=f"put it at {file}, beside the model",
            )
    return files


def _size_bytes(tensor: onnx.TensorProto) -> int:
    dtype: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    elements = int(np.prod(tensor.dims, dtype=np.int64))
    bits = _PACKED_BITS.get(tensor.data_type, 8 * dtype.itemsize)
    return -(-elements * bits // 8)


def _check_extent(path: Path, tensor: onnx.TensorProto, data: Mapping[str, Path]) -> None:
    info = ExternalDataInfo(tensor)
    available = data[info.location].stat().st_size
    end = (info.offset or 0) + _size_bytes(tensor)
    if end > available:
        raise ModelError(
            f"{path}: its external data file '{info.location}' is truncated: tensor "
            f"'{tensor.name}' ends at byte {end}, the file has {available}",
            hint="export or download it again",
        )


def _hash_file(path: Path, digest: hashlib._Hash) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
