"""The artifact of a segment: a program in JSON, schema ``qsdnn.blas/1``.

::

    {"schema": "qsdnn.blas/1",
     "weights": FILE,                               # beside the program; null when there is none
     "inputs": [NAME], "outputs": [NAME],
     "tensors": {NAME: {"dtype": "float32", "shape": [1, 3, 224, 224]}},
     "constants": {NAME: {"dtype", "shape", "offset": 4096}       # bytes into the weights, or
                   NAME: {"dtype", "shape", "data": BASE64}},     # little-endian, in place
     "layers": [{"index": 0, "ops": [
       {"kind": "Conv", "algorithm": "im2col", "inputs": [NAME], "outputs": [NAME],
        "attributes": {"strides": [1, 1], ...}}]}]}

Operators are ONNX's, but the host has resolved all that depends on operator versions, negative
axes, `auto_pad` or constant operands into plain attributes, so that a kernel reads only numbers.
Operands follow one another without gaps: an absent optional operand has no other operand after it.
"""

from __future__ import annotations

import base64
import binascii
import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

from .kernel import Op, Operand

SCHEMA = "qsdnn.blas/1"
DTYPES = ("float32", "int32", "int64")


@dataclass(frozen=True)
class Program:
    """A segment as operators.

    Attributes:
        inputs: The operands that are read from outside.
        outputs: The operands that are made for the outside.
        layers: The operators by layer index, in the order in which they run.
    """

    inputs: Tuple[Operand, ...]
    outputs: Tuple[Operand, ...]
    layers: Mapping[int, Tuple[Op, ...]]


def read_program(path: Path) -> Program:
    """Reads a program, and maps its weights into memory.

    Raises:
        EngineError: The file is not a program, or the weights do not exist.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise EngineError("%s: schema is not %s" % (path, SCHEMA))
        weights = _map(path.parent / document["weights"]) if document["weights"] else None
        return _parse(document, weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError("%s is not a blas program: %r" % (path, error)) from error


def _map(path: Path) -> np.ndarray:
    """The bytes of a file, which are read from disk when they are used."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, np.uint8)


def _parse(document: Mapping[str, Any], weights: Optional[np.ndarray]) -> Program:
    operands = {name: _operand(name, spec) for name, spec in document["tensors"].items()}
    for name, spec in document["constants"].items():
        operands[name] = _constant(name, spec, weights)
    layers: Dict[int, Tuple[Op, ...]] = {}
    made = set(document["inputs"])
    for layer in document["layers"]:
        ops = tuple(_op(op, operands) for op in layer["ops"])
        for op in ops:
            _check_order(op, made)
        if layers.setdefault(int(layer["index"]), ops) is not ops:
            raise ValueError("layer %s is there twice" % layer["index"])
    missing = set(document["outputs"]) - made
    if missing:
        raise ValueError("nothing makes %s" % sorted(missing))
    inputs = tuple(operands[name] for name in document["inputs"])
    return Program(inputs, tuple(operands[name] for name in document["outputs"]), layers)


def _operand(name: str, spec: Mapping[str, Any]) -> Operand:
    shape = tuple(spec["shape"])
    sound = all(isinstance(n, int) and n > 0 for n in shape)
    if spec["dtype"] not in DTYPES or not sound:
        raise ValueError("tensor %s: %r" % (name, spec))
    return Operand(name, shape, spec["dtype"])


def _constant(name: str, spec: Mapping[str, Any], weights: Optional[np.ndarray]) -> Operand:
    operand = _operand(name, spec)
    if "data" in spec:
        try:
            data = np.frombuffer(base64.b64decode(spec["data"], validate=True), np.uint8)
        except binascii.Error as error:
            raise ValueError("constant %s: %s" % (name, error)) from error
    else:
        if weights is None:
            raise ValueError("constant %s is in a file of weights, but there is none" % name)
        size_bytes = int(np.prod(operand.shape)) * np.dtype(operand.dtype).itemsize
        start = int(spec["offset"])
        if not 0 <= start <= len(weights) - size_bytes:
            raise ValueError("constant %s lies outside the weights" % name)
        data = weights[start : start + size_bytes]
    value = data.view(np.dtype(operand.dtype)).reshape(operand.shape)
    return Operand(name, operand.shape, operand.dtype, np.require(value, requirements="A"))


def _op(spec: Mapping[str, Any], operands: Mapping[str, Operand]) -> Op:
    return Op(
        kind=str(spec["kind"]),
        algorithm=str(spec["algorithm"]),
        inputs=tuple(operands[name] for name in spec["inputs"]),
        outputs=tuple(operands[name] for name in spec["outputs"]),
        attributes=dict(spec["attributes"]),
    )


def _check_order(op: Op, made: set[str]) -> None:
    """Raises ValueError unless each operand was made before, and nothing is made twice."""
    for operand in op.inputs:
        if operand.constant is None and operand.name not in made:
            raise ValueError("%s reads %s before it is made" % (op.kind, operand.name))
    for operand in op.outputs:
        if operand.constant is not None or operand.name in made:
            raise ValueError("%s makes %s again" % (op.kind, operand.name))
        made.add(operand.name)
