"""Ranges of activations, by onnxruntime.quantization's calibrators on a user's examples.

minmax takes the extremes; percentile leaves out a few outliers at each end; entropy takes the range
whose 128 levels are nearest to the values seen, in Kullback–Leibler divergence (Migacz, 8-bit
Inference with TensorRT, GTC 2017).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from qsdnn.errors import InputError, unknown
from qsdnn.model.calibration import Calibration
from qsdnn.model.extract import write_segment
from qsdnn.model.layer import Graph, Tensor
from qsdnn.model.segment import Segment

# onnxruntime's default for entropy, as many bins as levels, leaves nothing to choose from; four
# times as many take a fifth of a second for each tensor, and sixteen times as many take seconds.
_OPTIONS = {
    "MinMax": {},
    "Entropy": {"num_bins": 512, "num_quantized_bins": 128},
    "Percentile": {"num_bins": 2048, "percentile": 99.99, "symmetric": False},
}
_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}


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


@dataclass(frozen=True, slots=True)
class OnnxruntimeCalibrator:
    """See `qsdnn.model.calibration.Calibrator`.

    Attributes:
        name: The method: ``"minmax"``, ``"entropy"`` or ``"percentile"``.
    """

    name: str

    def calibrate(
        self,
        graph: Graph,
        inputs: Mapping[str, NDArray[Any]],
        progress: Callable[[int, int], None] | None = None,
    ) -> Calibration:
        """The range of every floating-point activation, graph inputs too.

        Raises:
            InputError: The inputs do not fit the network, or lead to values that are not finite.
        """
        batches = Examples(graph, inputs)
        passes = ("MinMax",) if self.name == "minmax" else ("MinMax", _METHODS[self.name])
        found: Any = None
        with tempfile.TemporaryDirectory(prefix="qsdnn-calibration-") as folder:
            path = _write(graph, Path(folder))
            for turn, method in enumerate(passes):
                calibrator = _open(path, method, found)
                for number, batch in enumerate(batches, 1 + turn * len(batches)):
                    with _quiet():
                        calibrator.collect_data(_Reader(batch))
                    if progress:
                        progress(number, len(passes) * len(batches))
                with _quiet():
                    found = calibrator.compute_data()
        return Calibration(method=self.name, ranges=_ranges(found))


class _Reader:
    """One batch, in the form onnxruntime.quantization wants; all batches would stay in memory."""

    def __init__(self, batch: dict[str, NDArray[Any]]) -> None:
        self._left: list[dict[str, NDArray[Any]]] = [batch]

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return self._left.pop() if self._left else None


def _write(graph: Graph, folder: Path) -> Path:
    """Writes the whole network, with the types of tensors inside its layers; returns the path."""
    segment = Segment(
        family="",
        layers=graph.layers,
        choices=(),
        inputs=graph.inputs,
        outputs=graph.outputs,
        graph=graph,
    )
    values = [value for layer in graph.layers for node in layer.nodes for value in node.outputs]

    def edit(model: onnx.ModelProto) -> None:
        typed = [value for value in values if value.name and value.type is not None]
        model.graph.value_info.extend(
            ir.to_proto(value) for value in typed if value.name not in graph.outputs
        )

    return folder / write_segment(segment, folder, edit)[0][0]


def _open(path: Path, method: str, extremes: Any) -> Any:
    """One of onnxruntime.quantization's calibrators.

    Histograms start with their final extent, which the extremes tell: a histogram that grows keeps
    the width of its bins, and after a first example near zero would get millions of them.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import HistogramCollector

    calibrator = create_calibrator(
        path,
        augmented_model_path=str(path.with_suffix(f".{method}.onnx")),
        calibrate_method=CalibrationMethod[method],
        extra_options=_OPTIONS[method],
    )
    if method != "MinMax":
        calibrator.collector = HistogramCollector(  # else made on the first data
            method=calibrator.method,
            symmetric=calibrator.symmetric,
            num_bins=calibrator.num_bins,
            num_quantized_bins=calibrator.num_quantized_bins,
            percentile=calibrator.percentile,
            scenario=calibrator.scenario,
        )
        for name, (low, high) in _ranges(extremes).items():
            calibrator.collector.histogram_dict[name] = _empty(low, high, calibrator.num_bins)
    return calibrator


def _empty(low: float, high: float, bins: int) -> tuple[Any, ...]:
    """An empty histogram, in the form in which `HistogramCollector` keeps histograms."""
    extent = np.float32(max(-low, high) or 1.0)
    edges = np.linspace(-extent, extent, bins + 1, dtype=np.float32)
    return np.zeros(bins, np.int64), edges, np.float32(low), np.float32(high), extent


def _ranges(found: Any) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name, data in sorted(found.items()):
        low, high = (float(np.ravel(limit)[0]) for limit in data.range_value)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"the calibration data makes values of '{name}' that are not finite")
        ranges[name] = (low, high)
    return ranges


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences onnxruntime.quantization, which prints to where commands print their result."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


MINMAX = OnnxruntimeCalibrator("minmax")
ENTROPY = OnnxruntimeCalibrator("entropy")
PERCENTILE = OnnxruntimeCalibrator("percentile")
