"""The loader of the engine ``blas``, and what it loads: kernels, run as one flat list of calls.

At the end is the catalogue of kernels: which one runs which operator.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec

from . import openblas
from .activation import PASSES, Activation, Clip, Relu, Unary
from .activation import UFUNCS as UNARY_UFUNCS
from .arithmetic import UFUNCS as ELTWISE_UFUNCS
from .arithmetic import Eltwise, Gemm, Gemv, MatMul, Power, PRelu
from .convolution import Depthwise, Direct, convolution_of
from .gemm_convolution import Im2col, Im2row, Kn2col, Kn2row, Pointwise
from .kernel import Kernel, Op, Step
from .layout import Concat, Expand, Gather, Pad, PadIndexed, Reshape, Slice, Split, Transpose
from .memory import Memory, buffer_of
from .normalization import LRN, BatchNormalization, LogSoftmax, Softmax, Standardization
from .program import Program, read_program
from .reduction import UFUNCS as REDUCE_UFUNCS
from .reduction import Pool, Reduce
from .sparse import Sparse
from .transforms import LARGE_TILE, SMALL_TILE, Fft, Winograd

BUFFER_ELEMENTS = 512
"""The size of a ufunc's internal buffer. A ufunc copies operands that are not contiguous through
its buffer if it can; with numpy's 8192 elements that makes broadcasts over rows two to three times
slower."""


class BlasLoader:
    """The board half of the engine ``blas``; see `qsdnn_runtime.engine.Loader`."""

    name = "blas"

    def probe(self) -> Optional[EngineInfo]:
        """The versions of numpy and its BLAS; a capability names the core the BLAS is tuned for."""
        core = openblas.core()
        return EngineInfo(
            name=self.name,
            version="numpy-%s+%s" % (np.__version__, openblas.version()),
            devices=("CPU",),
            capabilities=("FP32", core) if core else ("FP32",),
        )

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> BlasExecutable:
        """Loads a program; `threads` applies to the whole process, as OpenBLAS knows no other way.

        Raises:
            EngineError: The artifact is not a program, or needs more memory than there is.
        """
        openblas.set_threads(threads)
        try:
            return BlasExecutable(read_program(segment.artifact), profile)
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
            message = "%s cannot be loaded: %r" % (segment.artifact, error)
            raise EngineError(message) from error


class BlasExecutable:
    """Runs a program; see `qsdnn_runtime.engine.Executable`.

    Args:
        program: The segment, as operators.
        profile: Whether to time each layer.

    Raises:
        EngineError: An operator has no kernel.
    """

    def __init__(self, program: Program, profile: bool) -> None:
        self._program = program
        self._layers: Dict[int, List[Kernel]] = {
            index: [kernel_of(op) for op in ops] for index, ops in program.layers.items()
        }
        kernels = [kernel for layer in self._layers.values() for kernel in layer]
        self._memory = Memory(kernels, program.inputs, program.outputs)
        self._profile = profile
        self._steps: Dict[int, List[Step]] = {}
        self._flat: List[Step] = []
        self._times = dict.fromkeys(self._layers, 0.0)

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer is missing, or of another type, shape or memory order.
        """
        self._steps = self._compile(inputs, outputs)
        self._flat = [step for steps in self._steps.values() for step in steps]

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: No buffer is bound, or the operators of the program do not fit together.
        """
        if not self._steps:
            raise EngineError("run before bind")
        if self._profile:
            self._run_profiled()
        else:
            _execute(self._flat)

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value; leaves the bound buffers alone."""
        outputs = {o.name: np.empty(o.shape, o.dtype) for o in self._program.outputs}
        inputs = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        for steps in self._compile(inputs, outputs).values():
            _execute(steps)
        return outputs

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        return dict(self._times)

    def applied(self) -> Dict[int, Applied]:
        """The kernels that each layer was given, under the name of its algorithm."""
        return {index: _applied(kernels) for index, kernels in self._layers.items()}

    def close(self) -> None:
        """Drops buffers and weights."""
        self._steps, self._flat, self._layers = {}, [], {}
        del self._memory, self._program

    def _compile(
        self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
    ) -> Dict[int, List[Step]]:
        external = {o.name: buffer_of(o, inputs) for o in self._program.inputs}
        external.update((o.name, buffer_of(o, outputs)) for o in self._program.outputs)
        steps: Dict[int, List[Step]] = {}
        position = 0
        for index, kernels in self._layers.items():
            steps[index] = []
            for kernel in kernels:
                steps[index] += self._bound(position, kernel, external)
                position += 1
        return steps

    def _bound(self, position: int, kernel: Kernel, external: Dict[str, np.ndarray]) -> List[Step]:
        memory = self._memory
        try:
            reads = [memory.array(operand, external) for operand in kernel.op.inputs]
            makes = [memory.array(operand, external) for operand in kernel.op.outputs]
            return list(kernel.steps(reads, makes, memory.scratch(position, kernel)))
        except (ValueError, TypeError, IndexError) as error:
            raise EngineError("%s does not fit its operands: %s" % (kernel.name, error)) from error

    def _run_profiled(self) -> None:
        for index, steps in self._steps.items():
            start = perf_counter()
            _execute(steps)
            self._times[index] += (perf_counter() - start) * 1e3


def _execute(steps: List[Step]) -> None:
    # IEEE 754 gives what ONNX asks for: exp(100) is infinite and sigmoid(-100) zero, silently.
    with np.errstate(all="ignore"):
        size = np.setbufsize(BUFFER_ELEMENTS)
        try:
            for step in steps:
                step()
        except (ValueError, TypeError, IndexError) as error:
            raise EngineError("the program does not fit together: %s" % error) from error
        finally:
            np.setbufsize(size)


def _applied(kernels: List[Kernel]) -> Applied:
    chosen = [kernel.algorithm for kernel in kernels if kernel.algorithm != "numpy"]
    algorithm = chosen[0] if chosen else "numpy"
    names = dict.fromkeys(kernel.name for kernel in kernels)
    return Applied(primitive="blas/%s/fp32" % algorithm, kernel=", ".join(names))


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
