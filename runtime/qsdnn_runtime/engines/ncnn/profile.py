"""What each layer of an ncnn network takes, and which algorithm its convolution runs.

ncnn has no profiler in its Python package. Blobs are asked for one after another instead: each
time ncnn runs the one operator that was missing. Asked for as they are, packed, and let go at once,
blobs take the way they take in a run without profile: no copies, and operators that may work in
place do. What a blob costs to ask for, about two microseconds, is counted as its operator's.

ncnn does not say which algorithm a convolution ran. But algorithms round differently, so the bits
of the output tell them apart: the operator of the loaded network is run alone, on random numbers,
and held against networks of only this operator in which options of the whole network, not the mask
of the operator, leave one algorithm. That is a proof where the algorithms' outputs differ; where
they are equal to the last bit, they are one kernel.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError

from .artifact import Network, layer_of, weights_file
from .integer import computes_integers, input_scale, run_operator
from .net import load_net, make_options

Shape = Tuple[int, ...]

# What is left of winograd, sgemm and direct, in the order in which ncnn prefers them.
ALGORITHMS: Dict[str, Dict[str, bool]] = {
    "winograd": {},
    "sgemm": {"winograd": False},
    "direct": {"winograd": False, "sgemm": False},
}
_MASK = "31="
_SCALED = "8="  # in integers


class Stopwatch:
    """Runs a network operator by operator.

    Attributes:
        shapes: Of the blobs that were seen, by index.

    Args:
        network: What was loaded.
        net: Loaded.
        layers: Primitive asked for, by layer index.
    """

    def __init__(self, network: Network, net: Any, layers: Mapping[int, str]) -> None:
        self.shapes: Dict[int, Shape] = {port.blob: port.shape for port in network.inputs}
        self._times_ns = dict.fromkeys(layers, 0)
        self._steps: List[Tuple[int, int]] = []
        for operator in net.layers():
            layer = layer_of(operator.name)
            if layer in self._times_ns:
                self._steps += [(blob, layer) for blob in operator.tops]
            elif operator.type == "Split":  # an input that several read
                self.shapes.update(dict.fromkeys(operator.tops, self.shapes[operator.bottoms[0]]))

    def run(self, get: Callable[[int], Any], on_blob: Callable[[int, Any], None]) -> None:
        """One inference.

        Args:
            get: A blob by its index.
            on_blob: Given each blob; it does not keep it.
        """
        for index, layer in self._steps:
            start = perf_counter_ns()
            blob = get(index)
            on_blob(index, blob)
            self._times_ns[layer] += perf_counter_ns() - start
            if index not in self.shapes:
                self.shapes[index] = blob_shape(blob)
            del blob  # else the operator that takes it next could not work in place

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs."""
        return {layer: time_ns / 1e6 for layer, time_ns in self._times_ns.items()}


def blob_shape(blob: Any) -> Shape:
    """A blob's shape as it would be unpacked, outermost dimension first."""
    sizes = {1: (blob.w,), 2: (blob.h, blob.w), 3: (blob.c, blob.h, blob.w)}
    shape = sizes.get(blob.dims, (blob.c, blob.d, blob.h, blob.w))
    return (shape[0] * blob.elempack, *shape[1:])


def applied(
    network: Network, net: Any, shapes: Mapping[int, Shape], asked: Mapping[int, str]
) -> Dict[int, Applied]:
    """The primitive and the operators of each layer.

    Args:
        network: What was loaded.
        net: Loaded.
        shapes: Of its blobs, by index.
        asked: Primitive by layer index.

    Raises:
        EngineError: The network has not run yet.
    """
    primitives = {
        layer: name[: -len("int8")] + "fp32" if name.endswith("/int8") else name
        for layer, name in asked.items()
    }  # int8 is what is seen
    kernels: Dict[int, List[str]] = {layer: [] for layer in asked}
    lines = _lines(network.param)
    for operator in net.layers():
        layer, kernel = layer_of(operator.name), operator.type
        if layer not in kernels or kernel == "Split":
            continue
        engine, choice, precision = asked[layer].split("/")
        if precision == "int8":
            if any(word.startswith(_SCALED) for word in lines[operator.name]):
                ran = _is_integer(network, net, operator, shapes)
                kernel = "%s(%s)" % (kernel, "int8" if ran else "fp32")
                primitives[layer] = "%s/%s/%s" % (engine, choice, "int8" if ran else "fp32")
        elif kernel == "Convolution" and not _is_pointwise(lines[operator.name]):
            algorithm = _algorithm(network, net, operator, lines[operator.name], shapes)
            kernel = "%s(%s)" % (kernel, algorithm)
            if choice != "auto":
                primitives[layer] = "%s/%s/%s" % (engine, algorithm, precision)
        kernels[layer].append(kernel)
    return {
        layer: Applied(primitives[layer], ", ".join(dict.fromkeys(names)) or "fused")
        for layer, names in kernels.items()
    }


def _lines(param: str) -> Dict[str, List[str]]:
    """The words of each operator's line, by its name."""
    words = [line.split() for line in param.splitlines()[2:]]
    return {line[1]: line for line in words if len(line) > 3}


def _is_pointwise(line: List[str]) -> bool:
    """Whether a convolution is 1×1: that is a product of matrices under any mask."""
    return "1=1" in line and "11=1" in line


def _is_integer(network: Network, net: Any, operator: Any, shapes: Mapping[int, Shape]) -> bool:
    bottom, top = operator.bottoms[0], operator.tops[0]
    if bottom not in shapes:
        raise EngineError("applied() before the first run")
    with weights_file(network, network.spans[operator.name]) as weights:
        scale = input_scale(weights)
    return computes_integers(net, bottom, top, shapes[bottom], scale)


def _algorithm(
    network: Network, net: Any, operator: Any, line: List[str], shapes: Mapping[int, Shape]
) -> str:
    """The algorithm whose output is the operator's, bit by bit; ``unknown`` when there is none.

    Where several are, the last: what ncnn prefers to it does not fit this convolution.
    """
    bottom, top = operator.bottoms[0], operator.tops[0]
    if bottom not in shapes:
        raise EngineError("applied() before the first run")
    values = np.random.default_rng(0).standard_normal(shapes[bottom]).astype(np.float32)
    output = run_operator(net, bottom, top, values)
    params = " ".join(word for word in line[6:] if not word.startswith(_MASK))
    alone = "7767517\n2 2\nInput x 0 1 0\n%s y 1 1 0 1 %s\n" % (operator.type, params)
    found = "unknown"
    with weights_file(network, network.spans[operator.name]) as weights:
        for name, switches in ALGORITHMS.items():
            reference = load_net(alone, weights, make_options(net.opt.num_threads, **switches))
            if run_operator(reference, 0, 1, values) == output:
                found = name
            reference.clear()
    return found
