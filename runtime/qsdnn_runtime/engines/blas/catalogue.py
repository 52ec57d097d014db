"""The catalogue of kernels: which kernel runs which operator."""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict

from qsdnn_runtime.engine import EngineError

from .activation import PASSES, Activation, Clip, Relu, Unary
from .activation import UFUNCS as UNARY_UFUNCS
from .arithmetic import UFUNCS as ELTWISE_UFUNCS
from .arithmetic import Eltwise, Gemm, Gemv, MatMul, Power, PRelu
from .convolution import Depthwise, Direct, convolution_of
from .gemm_convolution import Im2col, Im2row, Kn2col, Kn2row, Pointwise
from .kernel import Kernel, Op
from .layout import Concat, Expand, Gather, Pad, PadIndexed, Reshape, Slice, Split, Transpose
from .normalization import LRN, BatchNormalization, LogSoftmax, Softmax, Standardization
from .reduction import UFUNCS as REDUCE_UFUNCS
from .reduction import Pool, Reduce
from .sparse import Sparse
from .transforms import LARGE_TILE, SMALL_TILE, Fft, Winograd

Make = Callable[[Op], Kernel]


def _direct(op: Op) -> Kernel:
    return Depthwise(op) if convolution_of(op).is_depthwise else Direct(op)


def _im2col(op: Op) -> Kernel:
    return Pointwise(op) if convolution_of(op).window.is_identity else Im2col(op)


CONVOLUTIONS: Dict[str, Make] = {
    "direct": _direct,
    "im2col": _im2col,
    "im2row": Im2row,
    "kn2row": Kn2row,
    "kn2col": Kn2col,
    "winograd": partial(Winograd, tile=LARGE_TILE),
    "winograd-small": partial(Winograd, tile=SMALL_TILE),
    "fft": Fft,
    "sparse": Sparse,
}

KERNELS: Dict[str, Make] = {
    **dict.fromkeys(UNARY_UFUNCS, Unary),
    **dict.fromkeys(PASSES, Activation),
    **dict.fromkeys(ELTWISE_UFUNCS, Eltwise),
    **dict.fromkeys(REDUCE_UFUNCS, Reduce),
    "AveragePool": Pool,
    "BatchNormalization": BatchNormalization,
    "Clip": Clip,
    "Concat": Concat,
    "Expand": Expand,
    "Gather": Gather,
    "Gemm": Gemm,
    "LRN": LRN,
    "LogSoftmax": LogSoftmax,
    "MatMul": MatMul,
    "MaxPool": Pool,
    "PRelu": PRelu,
    "Pad": Pad,
    "PadIndexed": PadIndexed,
    "Power": Power,
    "Relu": Relu,
    "Reshape": Reshape,
    "Slice": Slice,
    "Softmax": Softmax,
    "Split": Split,
    "Standardization": Standardization,
    "Transpose": Transpose,
}


def kernel_of(op: Op) -> Kernel:
    """The kernel of an operator, with its constants prepared.

    Raises:
        EngineError: No kernel takes the operator.
    """
    make = None
    if op.kind == "Conv":
        make = CONVOLUTIONS.get(op.algorithm)
    elif op.kind in ("Gemm", "MatMul") and op.algorithm == "gemv":
        make = Gemv
    elif op.algorithm == "numpy":
        make = KERNELS.get(op.kind)
    if make is None:
        raise EngineError("unknown operator %s/%s" % (op.kind, op.algorithm))
    return make(op)
