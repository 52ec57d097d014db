"""The artifact of a segment: a program in JSON, schema ``qsdnn.lne/1``.

::

    {"schema": "qsdnn.lne/1",
     "library": FILE,                        # the compiled kernels, beside the program
     "weights": [FILE],                      # floats; in memory they lie one after another
     "arena": 4096, "scratch": 512,          # floats: all tensors; the scratch of one thread
     "inputs": {NAME: SHAPE}, "outputs": {NAME: SHAPE},       # as they lie in memory
     "steps": [[KERNEL, LAYER, ARGUMENT, ...]]}

A kernel is a number. An argument is a whole number, the bits of a float, or a place: a region and
an offset in floats; the region is ``""`` for the arena, ``"*"`` for the weights, or the name of an
input or output.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from qsdnn_runtime.engine import EngineError

SCHEMA = "qsdnn.lne/1"
ARENA, WEIGHTS = "", "*"
HEADER = 3
"""Words before the arguments of a step: kernel, layer, words in all."""


@dataclass(frozen=True)
class Place:
    """An argument that is an address.

    Attributes:
        word: The position of the argument in all words.
        region: What it lies in: the arena, the weights, an input or an output.
        offset: Where, in floats.
    """

    word: int
    region: str
    offset: int


@dataclass(frozen=True)
class Program:
    """A segment as steps of compiled kernels.

    Attributes:
        library: The file of the kernels.
        weights: The files of the weights, in the order in which they lie in memory.
        arena: The memory of all tensors, in floats.
        scratch: The memory of one thread, in floats.
        inputs: The shapes of the inputs, by name.
        outputs: The shapes of the outputs, by name.
        words: The steps as the interpreter reads them, addresses still 0.
        places: The addresses to fill in.
        layers: The layer of each step.
    """

    library: Path
    weights: Tuple[Path, ...]
    arena: int
    scratch: int
    inputs: Mapping[str, Tuple[int, ...]]
    outputs: Mapping[str, Tuple[int, ...]]
    words: np.ndarray
    places: Tuple[Place, ...]
    layers: Tuple[int, ...]


def read_program(path: Path) -> Program:
    """Reads a program.

    Raises:
        EngineError: The file is not a program.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise EngineError("%s: schema is not %s" % (path, SCHEMA))
        return _parse(document, path.parent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError("%s is not an lne program: %r" % (path, error)) from error


def _parse(document: Mapping[str, Any], folder: Path) -> Program:
    words: List[int] = []
    places: List[Place] = []
    steps = document["steps"]
    for kernel, layer, *arguments in steps:
        words += [int(kernel), int(layer), HEADER + len(arguments)]
        for argument in arguments:
            if isinstance(argument, list):
                places.append(Place(len(words), str(argument[0]), int(argument[1])))
                argument = 0
            words.append(int(argument))
    shapes: Dict[str, Dict[str, Tuple[int, ...]]] = {
        side: {str(name): tuple(shape) for name, shape in document[side].items()}
        for side in ("inputs", "outputs")
    }
    regions = {ARENA, *shapes["inputs"], *shapes["outputs"]}
    if document["weights"]:
        regions.add(WEIGHTS)
    unknown = {place.region for place in places} - regions
    if unknown:
        raise ValueError("nothing is %s" % sorted(unknown))
    return Program(
        library=folder / document["library"],
        weights=tuple(folder / name for name in document["weights"]),
        arena=int(document["arena"]),
        scratch=int(document["scratch"]),
        inputs=shapes["inputs"],
        outputs=shapes["outputs"],
        words=np.array(words, np.int64),
        places=tuple(places),
        layers=tuple(int(step[1]) for step in steps),
    )
