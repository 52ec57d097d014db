"""Finds out whether an operator really computed in integers.

ncnn does not say. But in integers an input is rounded first: an input whose values are all below
half a step gives the same bits as zeros give, which is not so in floating point.
"""

from __future__ import annotations

import struct
import tempfile
from typing import Any, List, Tuple

import numpy as np

from .net import extract, import_library, load_net, make_options

_FLOAT32 = struct.pack("<I", 0)  # the mark that fp32 weights follow
_PROBE = "7767517\n2 2\nInput x 0 1 0\nConvolution y 1 1 0 1 0=1 1=1 5=0 6=1 8=2\n"


def computes_integers(
    net: Any, bottom: int, top: int, shape: Tuple[int, ...], scale: float
) -> bool:
    """Whether an operator of a loaded network computes in integers.

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
