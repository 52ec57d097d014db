"""The artifact of a segment: an ncnn network in JSON, schema ``qsdnn.ncnn/1``.

::

    {"schema": "qsdnn.ncnn/1",
     "param": TEXT,                        # ncnn's own text format; blobs are named by their index
     "inputs": [{"name", "blob": 0, "shape": [3, 224, 224]}],      # without the batch
     "outputs": [{"name", "blob", "shape"}],    # both may have "pack": the caller's memory is that
                                                # of a blob with so many channels packed together
     "weights": [{"file", "offset", "size_bytes"} or {"data": BASE64}],
     "spans": {OPERATOR: [BEGIN, END]}}    # bytes of its weights in ncnn's file

ncnn reads weights from one file; `weights` lists the pieces of that file. Operators are named
``"{layer}:{position}"``, with a suffix where a node takes several operators; the names of operators
that belong to no layer start with a word.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.scratch import scratch_file

SCHEMA = "qsdnn.ncnn/1"
MAX_DIMS = 4
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Port:
    """The place where a tensor enters or leaves the network.

    Attributes:
        name: The name of the tensor.
        blob: The index of the tensor's blob.
        shape: The shape of the blob, without the batch.
        pack: The number of channels that lie packed together in the caller's memory; 1 for none.
    """

    name: str
    blob: int
    shape: Tuple[int, ...]
    pack: int = 1


@dataclass(frozen=True)
class Piece:
    """A part of the file of weights: its bytes, or the place in another file where they are."""

    data: bytes
    path: Optional[Path]
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Network:
    """A segment as an ncnn network.

    Attributes:
        param: The network in ncnn's text format.
        inputs: The ports of the inputs, in the segment's order.
        outputs: The ports of the outputs, in the segment's order.
        pieces: The parts of the file of weights, in order.
        spans: The begin and end (bytes) of an operator's weights in that file, by the operator's
            name.
    """

    param: str
    inputs: Tuple[Port, ...]
    outputs: Tuple[Port, ...]
    pieces: Tuple[Piece, ...]
    spans: Mapping[str, Tuple[int, int]]


def read_network(path: Path) -> Network:
    """Reads a network; only checks that the weights are there.

    Raises:
        EngineError: The file is not a network, or weights are missing.
    """
    try:
        content = path.read_bytes()
        # A network with wrong numbers ends the process only when it runs.
        if not hashlib.sha256(content).hexdigest().startswith(path.stem):
            raise EngineError("%s has changed: its name is not the SHA-256 of its content" % path)
        document = json.loads(content.decode("utf-8"))
        if document["schema"] != SCHEMA:
            raise EngineError("%s: schema is not %s" % (path, SCHEMA))
        return _parse(document, path.parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError("%s is not an ncnn network: %r" % (path, error)) from error


def layer_of(operator: str) -> Optional[int]:
    """The layer that an operator belongs to, by the operator's name; None for no layer."""
    first = operator.partition(":")[0]
    return int(first) if first.isdigit() else None


def contents(network: Network) -> Iterator[bytes]:
    """The content of ncnn's file of weights in parts, none of them large.

    Raises:
        OSError: A piece cannot be read.
    """
    return _contents(network.pieces, 0, sum(piece.size_bytes for piece in network.pieces))


@contextmanager
def weights_file(network: Network, span: Tuple[int, int]) -> Iterator[str]:
    """A path to a part of ncnn's file of weights, in memory where the system has such files.

    Args:
        network: The network that the weights are of.
        span: The begin and end of the part, in bytes.

    Raises:
        EngineError: A piece cannot be read.
    """
    begin, end = span
    with scratch_file("weights") as (number, path):
        try:
            for content in _contents(network.pieces, begin, end):
                _write(number, content)
        except OSError as error:
            raise EngineError("weights cannot be read: %s" % error) from error
        os.lseek(number, 0, os.SEEK_SET)
        yield path


def _write(number: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(number, view) :]


def _contents(pieces: Tuple[Piece, ...], begin: int, end: int) -> Iterator[bytes]:
    start = 0
    for piece in pieces:
        first, last = max(begin - start, 0), min(end - start, piece.size_bytes)
        start += piece.size_bytes
        if first >= last:
            continue
        if piece.path is None:
            yield piece.data[first:last]
            continue
        with piece.path.open("rb") as file:
            file.seek(piece.offset + first)
            left = last - first
            while left:
                content = file.read(min(left, CHUNK_BYTES))
                if not content:
                    raise OSError("%s is too short" % piece.path)
                left -= len(content)
                yield content


def _parse(document: Mapping[str, Any], folder: Path) -> Network:
    pieces = tuple(_piece(spec, folder) for spec in document["weights"])
    total = sum(piece.size_bytes for piece in pieces)
    spans: Dict[str, Tuple[int, int]] = {}
    for name, (begin, end) in document["spans"].items():
        if not 0 <= int(begin) <= int(end) <= total:
            raise ValueError("weights of %s lie outside the file" % name)
        spans[str(name)] = (int(begin), int(end))
    return Network(
        param=str(document["param"]),
        inputs=_ports(document["inputs"]),
        outputs=_ports(document["outputs"]),
        pieces=pieces,
        spans=spans,
    )


def _ports(specs: List[Mapping[str, Any]]) -> Tuple[Port, ...]:
    ports = tuple(
        Port(
            name=str(spec["name"]),
            blob=int(spec["blob"]),
            shape=tuple(int(n) for n in spec["shape"]),
            pack=int(spec.get("pack", 1)),
        )
        for spec in specs
    )
    for port in ports:
        if not 0 < len(port.shape) <= MAX_DIMS or min(port.shape) < 1 or port.blob < 0:
            raise ValueError("%s cannot be a blob" % (port,))
        if port.pack < 1 or (port.pack > 1 and (len(port.shape) != 3 or port.shape[0] % port.pack)):
            raise ValueError("%s cannot be packed" % (port,))
    return ports


def _piece(spec: Mapping[str, Any], folder: Path) -> Piece:
    if "data" in spec:
        try:
            data = base64.b64decode(spec["data"], validate=True)
        except binascii.Error as error:
            raise ValueError("weights: %s" % error) from error
        return Piece(data, None, 0, len(data))
    path = folder / spec["file"]
    offset, size_bytes = int(spec["offset"]), int(spec["size_bytes"])
    if not 0 <= offset <= offset + size_bytes <= path.stat().st_size:
        raise ValueError("weights lie outside %s" % path)
    return Piece(b"", path, offset, size_bytes)
