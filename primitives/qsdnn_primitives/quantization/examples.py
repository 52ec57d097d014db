"""A user's examples, checked against a network, as batches of the size the network takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.errors import InputError, unknown
from qsdnn.model.layer import Graph, Tensor


class Examples:
    """Batches of the size a network takes; the last batch overlaps if n is no multiple of it.

    Args:
        graph: The network.
        inputs: The examples (n, …), by the name of the input.

    Raises:
        InputError: An input is missing, unknown, of another shape or type, or not finite.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> None:
        for name in inputs:
            if name not in graph.inputs:
                raise unknown("input", name, graph.inputs)
        for name in graph.inputs:
            if name not in inputs:
                raise InputError(f"the calibration data has no input '{name}'")
            _check(graph.tensors[name], inputs[name])
        self._inputs = inputs
        self._batches = {name: (graph.tensors[name].shape or (1,))[0] for name in inputs}
        runs = {name: -(-len(array) // self._batches[name]) for name, array in inputs.items()}
        if len(set(runs.values())) > 1:
            told = ", ".join(f"'{name}' {len(array)}" for name, array in inputs.items())
            raise InputError(f"the calibration data has different numbers of examples: {told}")
        self._runs = next(iter(runs.values()), 1)

    def __len__(self) -> int:
        return self._runs

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number in range(len(self)):
            yield {name: self._batch(name, number) for name in self._inputs}

    def _batch(self, name: str, number: int) -> NDArray[Any]:
        array, size = self._inputs[name], self._batches[name]
        start = min(number * size, len(array) - size)
        return array[start : start + size]


def _check(tensor: Tensor, array: NDArray[Any]) -> None:
    where = f"calibration data of input '{tensor.name}'"
    if not tensor.shape or not tensor.shape[0]:
        raise InputError(f"{where}: the network's input has no batch dimension")
    if array.dtype.name != tensor.dtype:
        raise InputError(f"{where} is {array.dtype}, not {tensor.dtype}")
    if array.ndim == 0 or array.shape[1:] != tensor.shape[1:]:
        wanted = ", ".join(["n", *map(str, tensor.shape[1:])])
        raise InputError(f"{where} has shape {array.shape}, not ({wanted})")
    if len(array) < tensor.shape[0]:
        raise InputError(
            f"{where} has {len(array)} examples, the network takes {tensor.shape[0]} at a time"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{where} has values that are not finite")
