"""The weights of a network: the pieces of files that make up ncnn's one file of weights.

ncnn reads weights in the order of the operators, from one file. Two segments that share a layer
would hold its weights twice, and a search builds hundreds of segments. So an artifact names pieces,
mostly of the graph's own file of weights, which is stored and sent once; the board puts the pieces
together when it loads the network.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import onnx_ir as ir

from qsdnn.files import link_file, write_content
from qsdnn_primitives.ncnn.operator import Weight
from qsdnn_primitives.plain.node import static_shape

INLINE_BYTES = 1024
"""The largest piece that is written into the artifact; larger ones get a file of their own."""

_FLOAT32 = bytes(4)
_ITEM_BYTES = 4


class WeightsFile:
    """ncnn's file of weights, as pieces.

    Attributes:
        pieces: The pieces in order: ``{"file", "offset", "size_bytes"}``, or ``{"data": base64}``.
        files: The names of the files that the pieces are of.

    Args:
        weights: The graph's file of weights.
        folder: The folder in which files are put.
    """

    def __init__(self, weights: Path, folder: Path) -> None:
        self.pieces: list[dict[str, Any]] = []
        self.files: list[str] = []
        self._weights = weights
        self._folder = folder
        self._size_bytes = 0

    def append(self, weights: Sequence[Weight]) -> tuple[int, int]:
        """Adds the weights of an operator.

        Returns:
            The begin and the end of the operator's weights, in bytes.
        """
        begin = self._size_bytes
        for weight in weights:
            if weight.tagged:
                self._inline(_FLOAT32)
            self._add(weight)
        return begin, self._size_bytes

    def _add(self, weight: Weight) -> None:
        tensor = weight.value.const_value
        own = isinstance(tensor, ir.ExternalTensor) and Path(tensor.location).name
        if weight.convert is None and own == self._weights.name:
            assert isinstance(tensor, ir.ExternalTensor)
            file = link_file(self._weights, self._folder)
            size_bytes = prod(static_shape(weight.value)) * _ITEM_BYTES
            self._slice(file, tensor.offset or 0, size_bytes)
            return
        content = weight.array().tobytes()
        if len(content) <= INLINE_BYTES:
            self._inline(content)
        else:
            self._slice(write_content(content, ".bin", self._folder), 0, len(content))

    def _slice(self, file: str, offset: int, size_bytes: int) -> None:
        self.pieces.append({"file": file, "offset": offset, "size_bytes": size_bytes})
        self._size_bytes += size_bytes
        if file not in self.files:
            self.files.append(file)

    def _inline(self, content: bytes) -> None:
        self.pieces.append({"data": base64.b64encode(content).decode("ascii")})
        self._size_bytes += len(content)
