"""The catalogue of kernels: which one runs which operator, by which algorithm."""

from __future__ import annotations

from typing import Callable, Dict, Iterator, Tuple

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.kernel import Op, Operand

from .convolution import Cudnn, Depthwise, Native, Onednn, Transposed
from .domain import Domain, algorithm_of
from .elementwise import BINARY, UNARY, WITH_ARGUMENTS, Eltwise, HardSigmoid, PRelu, Softsign, Unary
from .gemm_convolution import Im2col, Im2row
from .kernel import Kernel
from .movement import (
    Concat,
    Expand,
    Gather,
    Pad,
    PadIndexed,
    Resample,
    Reshape,
    Transpose,
    part_of,
    slice_of,
)
from .normalization import LRN, BatchNormalization, Softmax, Standardization
from .product import Gemm, MatMul
from .reduction import REDUCTIONS, Pool, Reduce

Make = Callable[[Op, Domain], Kernel]


def _product(op: Op, domain: Domain) -> Kernel:
    return Im2row(op, domain) if domain.last else Im2col(op, domain)


CONVOLUTIONS: Dict[str, Make] = {
    "onednn": Onednn,
    "native": Native,
    "gemm": _product,
    "cudnn": Cudnn,
    "depthwise": Depthwise,
    "cublas": _product,
}

KERNELS: Dict[str, Make] = {
    **dict.fromkeys(UNARY, Unary),
    **dict.fromkeys(WITH_ARGUMENTS, Unary),
    **dict.fromkeys(BINARY, Eltwise),
    **dict.fromkeys(REDUCTIONS, Reduce),
    "AveragePool": Pool,
    "BatchNormalization": BatchNormalization,
    "Concat": Concat,
    "ConvTranspose": Transposed,
    "Expand": Expand,
    "Gather": Gather,
    "Gemm": Gemm,
    "HardSigmoid": HardSigmoid,
    "LRN": LRN,
    "LogSoftmax": Softmax,
    "MatMul": MatMul,
    "MaxPool": Pool,
    "PRelu": PRelu,
    "Pad": Pad,
    "PadIndexed": PadIndexed,
    "Resample": Resample,
    "Reshape": Reshape,
    "Slice": slice_of,
    "Softmax": Softmax,
    "Softsign": Softsign,
    "Standardization": Standardization,
    "Transpose": Transpose,
}


def kernels_of(op: Op, domain: Domain) -> Iterator[Tuple[Operand, Kernel]]:
    """The outputs of an operator, each with the kernel that computes it.

    Args:
        op: The operator.
        domain: The domain of its layer.

    Raises:
        EngineError: No kernel takes the operator.
    """
    if op.kind == "Split":
        for number, output in enumerate(op.outputs):
            yield output, part_of(op, domain, number)
        return
    if op.kind == "Conv":
        make = CONVOLUTIONS.get(algorithm_of(op.algorithm))
    else:
        make = KERNELS.get(op.kind)
    if make is None:
        raise EngineError("unknown operator %s/%s" % (op.kind, op.algorithm))
    yield op.outputs[0], make(op, domain)
