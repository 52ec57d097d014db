"""The time of each layer of an ncnn network, and the algorithm that each convolution ran.

ncnn has no profiler in its Python package. Blobs are asked for one after another instead: each time
ncnn runs the one operator that was missing. The blobs are asked for packed, as they are, and let go
at once, so that they take the same way as in a run without profile: no copies, and operators that
may work in place do. The cost of asking for a blob, about two microseconds, is counted as the
operator's.

ncnn does not say which algorithm a convolution ran. But algorithms round differently, so the bits
of the output tell them apart: the operator of the loaded network is run alone, on random numbers,
and compared with networks of only this operator in which options of the whole network, not the mask
of the operator, leave one algorithm. That is a proof where the algorithms' outputs differ; where
their outputs are equal to the last bit, the algorithms are one kernel.
"""

from __future__ import annotations

import struct
import tempfile
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError

from .artifact import Network, layer_of, weights_file
from .net import extract, import_library, load_net, make_options

Shape = Tuple[int, ...]

# The options that leave winograd, sgemm or direct, in the order in which ncnn prefers these.
ALGORITHMS: Dict[str, Dict[str, bool]] = {
    "winograd": {},
    "sgemm": {"winograd": False},
    "direct": {"winograd": False, "sgemm": False},
}
_MASK = "31="  # the parameter that masks a convolution's algorithms
_SCALED = "8="  # the parameter of operators in integers
_FLOAT32 = struct.pack("<I", 0)  # the mark that fp32 weights follow
_PROBE = "7767517\n2 2\nInput x 0 1 0\nConvolution y 1 1 0 1 0=1 1=1 5=0 6=1 8=2\n"


class Stopwatch:
    """Runs a network operator by operator, and times each operator.

    Attributes:
        shapes: The shapes of the blobs seen so far, by blob index.

    Args:
        network: The network as read from its artifact.
        net: The same network, loaded by ncnn.
        layers: The primitive asked for, by layer index.
    """

    def __init__(self, network: Network, net: Any, layers: Mapping[int, str]) -> None:
        self.shapes: Dict[int, Shape] = {port.blob: port.shape for port in network.inputs}
        self._times_ns = dict.fromkeys(layers, 0)
        self._steps: List[Tuple[int, int]] = []
        for operator in net.layers():
            layer = layer_of(operator.name)
            if layer in self._times_ns:
                self._steps += [(blob, layer) for blob in operator.tops]
            elif operator.type == "Split":  # of an input that several operators read
                self.shapes.update(dict.fromkeys(operator.tops, self.shapes[operator.bottoms[0]]))

    def run(self, get: Callable[[int], Any], on_blob: Callable[[int, Any], None]) -> None:
        """One inference, with each operator timed.

        Args:
            get: A function that returns a blob by its index.
            on_blob: A function that is given each index and blob; it must not keep the blob.
        """
        for index, layer in self._steps:
            start = perf_counter_ns()
            blob = get(index)
            on_blob(index, blob)
            self._times_ns[layer] += perf_counter_ns() - start
            if index not in self.shapes:
                self.shapes[index] = blob_shape(blob)
            del blob  # else the next operator that takes the blob could not work in place

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
        network: The network as read from its artifact.
        net: The same network, loaded by ncnn.
        shapes: The shapes of the network's blobs, by blob index.
        asked: The primitive asked for, by layer index.

    Raises:
        EngineError: The network has not run yet.
    """
    primitives = {
        layer: name[: -len("int8")] + "fp32" if name.endswith("/int8") else name
        for layer, name in asked.items()
    }  # int8 is reported only where it is seen
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
    """The words of each operator's line, by the operator's name."""
    words = [line.split() for line in param.splitlines()[2:]]
    return {line[1]: line for line in words if len(line) > 3}


def _is_pointwise(line: List[str]) -> bool:
    """Whether a convolution is 1×1, which is a product of matrices under any mask."""
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
    """The algorithm whose output equals the operator's to the bit; ``unknown`` if there is none.

    Of several such algorithms it is the last: those that ncnn prefers do not fit this convolution.
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


def computes_integers(
    net: Any, bottom: int, top: int, shape: Tuple[int, ...], scale: float
) -> bool:
    """Whether an operator of a loaded network computes in integers.

    ncnn does not say. But in integers an input is rounded first: an input whose values are all
    below half a step gives the same bits as zeros give, which is not so in floating point.

    Args:
        net: The loaded network.
        bottom: The index of the operator's input blob.
        top: The index of the operator's output blob.
        shape: The shape of the input, without the batch.
        scale: The number of integer steps per unit of the input.
    """
    signs = np.where(np.random.default_rng(0).random(shape) < 0.5, -1.0, 1.0).astype(np.float32)
    small, large = signs * np.float32(0.45 / scale), signs * np.float32(40 / scale)
    zeros, rounded, kept = (
        run_operator(net, bottom, top, values) for values in (np.zeros_like(signs), small, large)
    )
    return zeros == rounded != kept


def has_integers() -> bool:
    """Whether this build of ncnn computes in integers."""
    content = _FLOAT32 + struct.pack("<3f", 1.0, 127.0, 127.0)
    with tempfile.NamedTemporaryFile(prefix="qsdnn-ncnn-") as file:
        file.write(content)
        file.flush()
        net = load_net(_PROBE, file.name, make_options(threads=1))
    return computes_integers(net, 0, 1, (1, 4, 4), 127.0)


def input_scale(weights: str) -> float:
    """The steps per unit of an operator's input: the last number of the operator's weights.

    Args:
        weights: The path of a file of the operator's weights alone.
    """
    with open(weights, "rb") as file:
        content: List[float] = list(struct.unpack("<f", file.read()[-4:]))
    return content[0]


def run_operator(net: Any, bottom: int, top: int, values: np.ndarray) -> bytes:
    """The bytes of one blob, computed from given values of another blob."""
    library = import_library()
    extractor = net.create_extractor()
    extractor.input(bottom, library.Mat(values).clone())
    blob = library.convert_packing(extract(extractor, top), 1, make_options(threads=1))
    return np.ascontiguousarray(np.asarray(blob)).tobytes()
