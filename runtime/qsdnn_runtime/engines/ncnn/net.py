"""ncnn's own objects, with every return code checked: after an error, ncnn's next call crashes."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from qsdnn_runtime.engine import EngineError

from .artifact import Network
from .reader import Source, make_reader

AS_IT_IS = 1  # hands a blob out as it lies in memory: packed, if the operator packed it


def import_library() -> Any:
    """The Python package of ncnn.

    Raises:
        EngineError: ncnn is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise EngineError("ncnn is not installed here: %s" % error) from error
    return ncnn


def make_options(threads: int, winograd: bool = True, sgemm: bool = True) -> Any:
    """Options for fp32 on the processor, and for int8 in operators that have scales for it.

    Args:
        threads: The number of threads that ncnn may use.
        winograd: Whether convolutions may use Winograd's algorithm.
        sgemm: Whether convolutions may be products of matrices.
    """
    options = import_library().Option()
    options.num_threads = threads
    options.use_vulkan_compute = False
    # ncnn's default is storage in half the bits, which loses more than fp32's tolerance allows.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_packed = options.use_bf16_storage = False
    options.use_int8_inference = True
    options.use_packing_layout = True
    options.use_winograd_convolution = winograd
    options.use_sgemm_convolution = sgemm
    return options


def load_net(param: str, weights: Any, options: Any) -> Any:
    """A network, ready to run.

    Args:
        param: The network in ncnn's text format.
        weights: The path of ncnn's file of weights, or a reader of it.
        options: The options to run the network with.

    Raises:
        EngineError: ncnn refuses the network or its weights.
    """
    net = import_library().Net()
    net.opt = options
    with tempfile.TemporaryDirectory(prefix="qsdnn-ncnn-") as folder:
        path = os.path.join(folder, "net.param")
        with open(path, "w", encoding="utf-8") as file:
            file.write(param)
        code = net.load_param(path)
    if code != 0:
        raise EngineError("ncnn refuses the network (%d)" % code)
    code = net.load_model(weights)
    if code != 0:
        raise EngineError("ncnn refuses the network's weights (%d)" % code)
    return net


def load_network(network: Network, options: Any) -> Any:
    """A segment's network, ready to run.

    Raises:
        EngineError: ncnn refuses the network, or the network lacks blobs that the artifact names.
    """
    source = Source(network)
    try:
        net = load_net(network.param, make_reader(import_library().DataReader, source), options)
    except EngineError:
        source.check()  # raises the cause, if the weights could not be read
        raise
    count = len(net.blobs())
    for port in (*network.inputs, *network.outputs):
        if port.blob >= count:
            raise EngineError("%s is blob %d of %d" % (port.name, port.blob, count))
    return net


def extract(extractor: Any, blob: int) -> Any:
    """A blob, computed if it is absent; the blob may be packed.

    Raises:
        EngineError: ncnn failed.
    """
    code, mat = extractor.extract(blob, AS_IT_IS)
    if code != 0:
        raise EngineError("ncnn failed at blob %d (%d)" % (blob, code))
    return mat
