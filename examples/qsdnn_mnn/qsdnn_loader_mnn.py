"""MNN for qsdnn, board half: a program becomes a network of MNN's own, and runs.

Installed on the board beside MNN, of whose command line tools nothing is imported.
"""

from __future__ import annotations

import os
import tempfile
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec, Unprofiled
from qsdnn_runtime.engines.blas.kernel import Op, Operand
from qsdnn_runtime.engines.blas.program import Program, read_program


class MnnLoader:
    """The board half of the engine ``mnn``; see `qsdnn_runtime.engine.Loader`."""

    name = "mnn"

    def probe(self) -> Optional[EngineInfo]:
        """MNN's version; None where it is not installed."""
        try:
            import MNN
        except ImportError:
            return None
        return EngineInfo(self.name, str(MNN.version()), ("CPU",), ("FP32",))

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> "MnnExecutable":
        """Makes a network of a program.

        Raises:
            EngineError: The artifact is no program, or MNN refuses it.
        """
        program = read_program(segment.artifact)
        kind = ProfiledExecutable if profile else MnnExecutable
        return kind(program, threads)


class MnnExecutable(Unprofiled):
    """A network in a session, which owns the memory of its inputs and outputs.

    Args:
        program: The segment.
        threads: How many MNN may use.

    Raises:
        EngineError: MNN refuses it.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self._program = program
        self._network = _load(program)
        self._session = self._network.createSession({"numThread": threads, "precision": "high"})
        if self._session is None:
            raise EngineError("MNN refuses the network")
        self._inputs = {
            operand.name: self._network.getSessionInput(self._session, _input(i)).getNumpyData()
            for i, operand in enumerate(program.inputs)
        }
        self._outputs = {
            operand.name: self._network.getSessionOutput(self._session, name).getNumpyData()
            for operand, name in zip(program.outputs, _outputs(program))
        }
        self._given: List[Tuple[np.ndarray, np.ndarray]] = []
        self._taken: List[Tuple[np.ndarray, np.ndarray]] = []

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers; they are copied from and to, as MNN has memory of its own."""
        self._given = [(array, inputs[name]) for name, array in self._inputs.items()]
        self._taken = [(outputs[name], array) for name, array in self._outputs.items()]

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: MNN failed.
        """
        for target, source in self._given:
            np.copyto(target, source)
        self._infer()
        for target, source in self._taken:
            np.copyto(target, source)

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value."""
        for name, array in self._inputs.items():
            np.copyto(array, feeds[name])
        self._infer()
        return {name: array.copy() for name, array in self._outputs.items()}

    def close(self) -> None:
        """Frees the session, then the network; views of their memory go first."""
        self._inputs, self._outputs, self._given, self._taken = {}, {}, [], []
        self._session = self._network = None

    def _infer(self) -> None:
        _check(self._network.runSession(self._session))


class ProfiledExecutable(MnnExecutable):
    """As its base, with MNN telling when each operator begins and ends, and what it is."""

    def __init__(self, program: Program, threads: int) -> None:
        super().__init__(program, threads)
        self._times_ns = dict.fromkeys(program.layers, 0)
        self._kernels: Dict[int, Dict[str, None]] = {layer: {} for layer in program.layers}
        self._began_ns = 0

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        return {layer: time_ns / 1e6 for layer, time_ns in self._times_ns.items()}

    def applied(self) -> Dict[int, Applied]:
        """The operators that ran; none for a layer that MNN turned into another view of memory."""
        return {
            layer: Applied("mnn/auto/fp32", ", ".join(kinds) or "view")
            for layer, kinds in self._kernels.items()
        }

    def _infer(self) -> None:
        run = self._network.runSessionWithCallBackInfo
        _check(run(self._session, self._begin, self._end))

    def _begin(self, tensors: Any, operator: Any) -> bool:
        self._began_ns = perf_counter_ns()
        return True

    def _end(self, tensors: Any, operator: Any) -> bool:
        elapsed_ns = perf_counter_ns() - self._began_ns
        layer = int(operator.getName().split(":")[0])
        self._times_ns[layer] += elapsed_ns
        self._kernels[layer][operator.getType()] = None
        return True


def _check(code: int) -> None:
    if code != 0:
        raise EngineError("MNN failed (%d)" % code)


def _input(number: int) -> str:
    return "input:%d" % number


def _outputs(program: Program) -> List[str]:
    """Names of the outputs in MNN's network: they begin with the layer, as all that runs."""
    made = {
        o.name: index for index, ops in program.layers.items() for op in ops for o in op.outputs
    }
    return ["%d:output:%d" % (made[o.name], i) for i, o in enumerate(program.outputs)]


def _load(program: Program) -> Any:
    import MNN

    with tempfile.TemporaryDirectory(prefix="qsdnn-mnn-") as folder:
        path = os.path.join(folder, "network.mnn")
        try:
            MNN.expr.save(_build(program, MNN.expr), path)
        except (RuntimeError, ValueError, KeyError) as error:
            raise EngineError("MNN refuses the network: %s" % error) from error
        return MNN.Interpreter(path)


def _build(program: Program, F: Any) -> List[Any]:
    """The outputs, as expressions; every operator's name begins with its layer."""
    values = {}
    for number, operand in enumerate(program.inputs):
        values[operand.name] = F.placeholder(list(operand.shape), F.NCHW)
        values[operand.name].name = _input(number)
    for layer, ops in program.layers.items():
        for position, op in enumerate(ops):
            value = _BUILDERS[op.kind](F, op, [values.get(o.name) for o in op.inputs])
            values[op.outputs[0].name] = _named(value, "%d:%d" % (layer, position))
    # Outputs have operators of their own: only what no other reads is an output to MNN.
    return [
        _named(_reshaped(F, values[operand.name], operand), name)
        for operand, name in zip(program.outputs, _outputs(program))
    ]


def _named(value: Any, name: str) -> Any:
    """Names an expression, and those it was made of that have no name yet."""
    if not value.name:
        value.name = name
        for number, source in enumerate(value.inputs):
            _named(source, "%s.%d" % (name, number))
    return value


def _reshaped(F: Any, value: Any, operand: Operand) -> Any:
    return F.reshape(F.convert(value, F.NCHW), list(operand.shape))


def _constant(F: Any, array: np.ndarray) -> Any:
    return F.const(np.ascontiguousarray(array, dtype=np.float32), list(array.shape), F.NCHW)


def _xy(op: Op, name: str) -> List[int]:
    """MNN has widths before heights."""
    return list(op.ints(name))[::-1]


def _conv(F: Any, op: Op, values: List[Any]) -> Any:
    weight = op.constant(1)
    bias = op.constant(2) if len(op.inputs) > 2 else np.zeros(len(weight))
    strides, begins, dilations = (_xy(op, n) for n in ("strides", "begins", "dilations"))
    data, group = F.convert(values[0], F.NC4HW4), op.integer("group")
    parameters = _constant(F, weight), _constant(F, bias)
    return F.conv2d(data, *parameters, strides, begins, dilations, group, F.CAFFE)


def _pool(F: Any, op: Op, values: List[Any]) -> Any:
    pool = F.max_pool if op.kind == "MaxPool" else F.avg_pool
    kernel, strides = _xy(op, "kernel"), _xy(op, "strides")
    return pool(F.convert(values[0], F.NC4HW4), kernel, strides, F.VALID)


def _mean(F: Any, op: Op, values: List[Any]) -> Any:
    kernel = list(op.inputs[0].shape[:1:-1])
    mean = F.avg_pool(F.convert(values[0], F.NC4HW4), kernel, [1, 1], F.VALID)
    return _reshaped(F, mean, op.outputs[0])


def _add(F: Any, op: Op, values: List[Any]) -> Any:
    return F.add(values[0], F.convert(values[1], values[0].data_format))


def _gemm(F: Any, op: Op, values: List[Any]) -> Any:
    """A 1×1 convolution of images of one pixel, each a row."""
    factor = op.constant(1) if op.integer("transB") else op.constant(1).T
    weight = factor[:, :, None, None] * np.float32(op.number("alpha"))
    bias = np.zeros(len(weight), np.float32)
    if len(op.inputs) > 2:
        bias += op.constant(2).reshape(-1) * np.float32(op.number("beta"))
    rows = F.reshape(F.convert(values[0], F.NCHW), [*op.inputs[0].shape, 1, 1])
    parameters = _constant(F, weight), _constant(F, bias)
    product = F.conv2d(F.convert(rows, F.NC4HW4), *parameters)
    return _reshaped(F, product, op.outputs[0])


def _softmax(F: Any, op: Op, values: List[Any]) -> Any:
    return F.softmax(F.convert(values[0], F.NCHW), op.ints("axes")[0])


_BUILDERS: Dict[str, Callable[[Any, Op, List[Any]], Any]] = {
    "Add": _add,
    "AveragePool": _pool,
    "Clip": lambda F, op, values: F.relu6(values[0], op.number("min"), op.number("max")),
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _pool,
    "ReduceMean": _mean,
    "Relu": lambda F, op, values: F.relu(values[0]),
    "Reshape": lambda F, op, values: _reshaped(F, values[0], op.outputs[0]),
    "Softmax": _softmax,
}

LOADER = MnnLoader()
