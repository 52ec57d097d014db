"""The constants of an ONNX graph: reading them, adding some, dropping unread ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from qsdnn.files import write_content
from qsdnn.model.read import bodies_of

# The largest constant kept inline; a larger one goes to a file of its own, which plans share.
_INLINE_BYTES = 4096


class Constants:
    """The constants of a graph, by name.

    Args:
        graph: The graph, changed in place.
        folder: The folder of the external constants.
    """

    def __init__(self, graph: onnx.GraphProto, folder: Path) -> None:
        self._graph = graph
        self._folder = folder
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self._tensors[name], base_dir=str(self._folder))

    def add(self, name: str, values: NDArray[Any]) -> str:
        """Adds a constant, unless there is one of that name; returns the name."""
        if name not in self._tensors:
            tensor = numpy_helper.from_array(np.asarray(values, order="C"), name)
            if len(tensor.raw_data) > _INLINE_BYTES:
                file = write_content(tensor.raw_data, ".bin", self._folder)
                onnx.external_data_helper.set_external_data(tensor, file)
                tensor.ClearField("raw_data")
            self._graph.initializer.append(tensor)
            self._tensors[name] = tensor
        return name

    def prune(self) -> None:
        """Drops the constants that no node reads, as integers have taken their place."""
        attributes = [attribute for node in self._graph.node for attribute in node.attribute]
        if any(True for attribute in attributes for _ in bodies_of(attribute)):
            return  # such a body may read constants
        read = {name for node in self._graph.node for name in node.input}
        read |= {output.name for output in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
