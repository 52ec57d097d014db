"""The manifest of a package: ``manifest.json``, schema ``qsdnn.package/1``.

::

    {"schema": "qsdnn.package/1",
     "model": {"name", "sha256"},
     "threads": 1,
     "tensors": {NAME: {"dtype": "float32", "shape": [1, 3, 224, 224]}},
         # dtype "" or shape null: no static buffer can hold the tensor; it is passed by value.
         # With "layout": "nchw16c" the elements lie in that order, of as many bytes: channels
         # in blocks of 16, innermost. Never for a tensor that enters or leaves the package.
     "inputs": [NAME], "outputs": [NAME],
     "segments": [                                  # in execution order
       {"engine": "openvino", "family": "openvino", "artifact": FILE,
        "inputs": [NAME], "outputs": [NAME], "options": {...},
        "layers": [{"index": 0, "name": "conv1", "primitive": "openvino/auto/fp32"}]}],
     "artifacts": {FILE: {"sha256", "size_bytes"}}, # in the folder artifacts/
     "app": {"components": [...]},                  # of an application, which has no segments: see
                                                    # `qsdnn_runtime.app.measured`
     "digest": SHA256}                              # of all other keys, in a package on disk
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Set, Tuple, TypeVar, Union

import numpy as np

SCHEMA = "qsdnn.package/1"
FILE_NAME = "manifest.json"

T = TypeVar("T")


class PackageError(ValueError):
    """A package is malformed, incomplete, or differs from what its manifest says."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that crosses segments, or enters or leaves the package.

    Attributes:
        name: The tensor's name, unique in the package.
        dtype: The name of the numpy dtype; ``""`` where numpy has none.
        shape: The dimensions; None where they depend on data.
        layout: The order of the elements, e.g. ``"nchw16c"``; ``""`` for the order of `shape`.
    """

    name: str
    dtype: str
    shape: Optional[Tuple[int, ...]]
    layout: str = ""

    @property
    def static(self) -> bool:
        """Whether a buffer made beforehand can hold the tensor."""
        return bool(self.dtype) and self.shape is not None

    @property
    def size_bytes(self) -> int:
        """The size of the elements; 0 when the tensor is not static."""
        if not self.dtype or self.shape is None:
            return 0
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class LayerEntry:
    """A layer of a segment, with the primitive asked for."""

    index: int
    name: str
    primitive: str


@dataclass(frozen=True)
class SegmentEntry:
    """A segment: an engine, the artifact it runs, and the tensors it runs on."""

    engine: str
    family: str
    artifact: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    options: Mapping[str, Any]
    layers: Tuple[LayerEntry, ...]


@dataclass(frozen=True)
class ArtifactEntry:
    """The SHA-256 and the size that a file of ``artifacts/`` must have."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """The content of a manifest; the module's docstring explains the fields."""

    name: str
    sha256: str
    threads: int
    tensors: Mapping[str, TensorSpec]
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    segments: Tuple[SegmentEntry, ...]
    artifacts: Mapping[str, ArtifactEntry]


def load_manifest(source: Union[str, "os.PathLike[str]", Mapping[str, Any]]) -> Manifest:
    """Reads a manifest and checks that it can be executed.

    Args:
        source: The path of a ``manifest.json``, or its content.

    Raises:
        PackageError: The manifest cannot be executed; the message names the entry.
    """
    if isinstance(source, Mapping):
        return _parse(_Entry(source, FILE_NAME))
    return _parse(_Entry(read_json(Path(source)), Path(source).name))


def digest_of(content: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's content, independent of the layout of the file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The content of a file that should be a manifest.

    Raises:
        PackageError: The file cannot be read, or is no JSON.
    """
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise PackageError("%s: cannot be read: %s" % (path, error.strerror)) from error


def parse_json(content: bytes, where: str) -> Any:
    """The content of bytes that should be a manifest.

    Raises:
        PackageError: The bytes are no JSON; the message begins with `where`.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise PackageError("%s: neither a package nor a manifest: %s" % (where, error)) from error


class _Entry:
    """A JSON value with its place in the file, so that an error can name the place."""

    def __init__(self, value: Any, file: str, where: str = "") -> None:
        self.value = value
        self._file = file
        self._where = where

    def fail(self, problem: str) -> PackageError:
        place = "%s: %s" % (self._file, self._where) if self._where else self._file
        return PackageError("%s: %s" % (place, problem))

    def __getitem__(self, key: str) -> "_Entry":
        mapping = self._of(Mapping, "an object")
        entry = self._inner(mapping.get(key), "%s.%s" % (self._where, key) if self._where else key)
        if key not in mapping:
            raise entry.fail("missing")
        return entry

    def text(self) -> str:
        return str(self._of(str, "a text"))

    def natural(self) -> int:
        value = int(self._of(int, "an integer"))
        if value < 0 or isinstance(self.value, bool):
            raise self.fail("%s is not a natural number" % self.value)
        return value

    def each(self, parse: "Callable[[_Entry], T]") -> Tuple[T, ...]:
        values = self._of((list, tuple), "a list")
        return tuple(
            parse(self._inner(value, "%s[%d]" % (self._where, i))) for i, value in enumerate(values)
        )

    def entries(self, parse: "Callable[[str, _Entry], T]") -> Dict[str, T]:
        return {str(key): parse(str(key), self[key]) for key in self._of(Mapping, "an object")}

    def _inner(self, value: Any, where: str) -> "_Entry":
        return _Entry(value, self._file, where)

    def _of(self, kind: Any, words: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.fail("expected %s, found %.40r" % (words, self.value))
        return self.value


def _parse(root: _Entry) -> Manifest:
    if root["schema"].value != SCHEMA:
        problem = "%.40r is not '%s', which this runtime reads" % (root["schema"].value, SCHEMA)
        raise root["schema"].fail(problem)
    manifest = Manifest(
        name=root["model"]["name"].text(),
        sha256=root["model"]["sha256"].text(),
        threads=root["threads"].natural(),
        tensors=root["tensors"].entries(_tensor),
        inputs=root["inputs"].each(_Entry.text),
        outputs=root["outputs"].each(_Entry.text),
        segments=root["segments"].each(_segment),
        artifacts=root["artifacts"].entries(_artifact),
    )
    if not manifest.threads:
        raise root["threads"].fail("at least one is needed")
    _check_names(root, manifest)
    _check_order(root, manifest)
    return manifest


def _tensor(name: str, entry: _Entry) -> TensorSpec:
    dtype = entry["dtype"].text()
    if dtype and not _is_numeric(dtype):
        raise entry["dtype"].fail("'%s' is no numeric numpy dtype" % dtype)
    shape = entry["shape"]
    dimensions = None if shape.value is None else shape.each(_Entry.natural)
    layout = entry["layout"].text() if "layout" in entry.value else ""
    if layout and (dimensions is None or len(dimensions) != 4):
        raise entry["layout"].fail("only what has four dimensions has one")
    return TensorSpec(name=name, dtype=dtype, shape=dimensions, layout=layout)


def _is_numeric(dtype: str) -> bool:
    try:
        found = np.dtype(dtype)
    except TypeError:
        return False
    return found.name == dtype and found.kind in "biufc"


def _segment(entry: _Entry) -> SegmentEntry:
    return SegmentEntry(
        engine=entry["engine"].text(),
        family=entry["family"].text(),
        artifact=entry["artifact"].text(),
        inputs=entry["inputs"].each(_Entry.text),
        outputs=entry["outputs"].each(_Entry.text),
        options=entry["options"].entries(lambda _, option: option.value),
        layers=entry["layers"].each(_layer),
    )


def _layer(entry: _Entry) -> LayerEntry:
    return LayerEntry(
        index=entry["index"].natural(),
        name=entry["name"].text(),
        primitive=entry["primitive"].text(),
    )


def _artifact(name: str, entry: _Entry) -> ArtifactEntry:
    if Path(name).name != name:
        raise entry.fail("an artifact's name may not have a folder")
    return ArtifactEntry(sha256=entry["sha256"].text(), size_bytes=entry["size_bytes"].natural())


def _check_names(root: _Entry, manifest: Manifest) -> None:
    """Checks that every name used is defined."""

    def known(entry: _Entry) -> None:
        if entry.value not in manifest.tensors:
            raise entry.fail("'%s' is not in tensors" % entry.value)

    def plain(entry: _Entry) -> None:
        known(entry)
        if manifest.tensors[entry.value].layout:
            raise entry.fail("the caller's '%s' may not have a layout" % entry.value)

    root["inputs"].each(plain)
    root["outputs"].each(plain)
    for entry in root["segments"].each(lambda entry: entry):
        entry["inputs"].each(known)
        entry["outputs"].each(known)
        if entry["artifact"].value not in manifest.artifacts:
            raise entry["artifact"].fail("'%s' is not in artifacts" % entry["artifact"].value)


def _check_order(root: _Entry, manifest: Manifest) -> None:
    """Checks that every tensor is made once, and before it is read."""
    made: Set[str] = set(manifest.inputs)

    def read(entry: _Entry) -> None:
        if entry.value not in made:
            raise entry.fail("no earlier segment makes '%s'" % entry.value)

    def make(entry: _Entry) -> None:
        if entry.value in made:
            raise entry.fail("'%s' is made twice" % entry.value)
        made.add(entry.value)

    for entry in root["segments"].each(lambda entry: entry):
        entry["inputs"].each(read)
        entry["outputs"].each(make)
    root["outputs"].each(read)
