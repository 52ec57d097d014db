"""A loaded segment on a CPU: its steps on the caller's arrays."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch

from qsdnn_runtime.engine import Applied, EngineError
from qsdnn_runtime.engines.blas.memory import buffer_of
from qsdnn_runtime.engines.blas.program import Program

from .domain import Tensor
from .kernel import Convert
from .library import set_threads
from .memory import Memory
from .network import Network, Step
from .readback import Profiled, applied


class Call:
    """A step with its tensors, laid out for speed.

    Args:
        step: The step.
        scratch: The scratch tensor of the step; None without one.
        drops: The slots whose tensors nothing reads any more.
    """

    __slots__ = ("drops", "function", "over", "precision", "reads", "scratch", "stores", "write")

    def __init__(self, step: Step, scratch: Tensor, drops: Tuple[int, ...]) -> None:
        self.function = step.kernel.call
        self.reads, self.write, self.over = step.reads, step.write, step.over
        self.stores = step.kernel.makes or step.kernel.view
        self.precision = step.kernel.domain.precision
        self.scratch = scratch
        self.drops = drops


class TorchExecutable:
    """Runs a program on a CPU; see `qsdnn_runtime.engine.Executable`.

    Args:
        program: The segment, as operators.
        threads: The number of threads that PyTorch may use.
        profile: Whether to time each layer.

    Raises:
        EngineError: An operator has no kernel.
    """

    device = "cpu"
    """The device, as PyTorch names it."""

    def __init__(self, program: Program, threads: int, profile: bool) -> None:
        self._program = program
        self._threads = threads
        self._profile = profile
        with torch.inference_mode():
            self._network = Network(program, self.device)
            self._memory = Memory(self._network, self.device)
        self._layers = self._calls()
        self._flat = [call for calls in self._layers.values() for call in calls]
        self._arrays: Dict[int, np.ndarray] = {}  # the caller's buffers, by slot
        self._times = dict.fromkeys(self._layers, 0.0)
        self._applied: Dict[int, Applied] = {}

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer is missing, or of another type, shape or memory order.
        """
        self._arrays = self._checked(inputs, outputs)
        self._take(self._arrays)

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: No buffer is bound, or PyTorch failed.
        """
        if not self._arrays:
            raise EngineError("run before bind")
        set_threads(torch, self._threads)
        try:
            with torch.inference_mode():
                self._run()
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise EngineError(reason(error)) from error

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value; leaves the bound buffers alone."""
        return self._by_value(feeds, self.run)

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        return dict(self._times)

    def applied(self) -> Dict[int, Applied]:
        """What each layer executed, as PyTorch's profiler saw it in one run more, on zeros."""
        if not self._applied:
            feeds = {o.name: np.zeros(o.shape, o.dtype) for o in self._program.inputs}
            self._by_value(feeds, self._observe)
        return dict(self._applied)

    def close(self) -> None:
        """Drops tensors and weights."""
        self._layers, self._flat, self._arrays = {}, [], {}
        del self._memory, self._network, self._program

    def _checked(
        self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]
    ) -> Dict[int, np.ndarray]:
        """The caller's buffers by slot.

        Raises:
            EngineError: A buffer is missing, or of another type, shape or memory order.
        """
        network, found = self._network, {}
        groups = (
            (self._program.inputs, network.inputs, inputs),
            (self._program.outputs, network.outputs, outputs),
        )
        for operands, slots, buffers in groups:
            for operand in operands:
                found[slots[operand.name]] = buffer_of(operand, buffers)
        return found

    def _run(self) -> None:
        if not self._profile:
            self._execute(self._flat)
            return
        for index, calls in self._layers.items():
            start = perf_counter()
            self._execute(calls)
            self._times[index] += (perf_counter() - start) * 1e3

    def _take(self, buffers: Dict[int, np.ndarray]) -> None:
        """Lets the steps read and write the caller's buffers in place."""
        for slot, array in buffers.items():
            self._memory.values[slot] = torch.from_numpy(array)

    def _calls(self) -> Dict[int, List[Call]]:
        scratch = iter(self._memory.scratch)
        return {
            index: [Call(step, next(scratch), step.drops) for step in steps]
            for index, steps in self._network.layers.items()
        }

    def _execute(self, calls: Sequence[Call]) -> None:
        values = self._memory.values
        for call in calls:
            inputs = [values[slot] for slot in call.reads]
            out = inputs[call.over] if call.over >= 0 else values[call.write]
            made = call.function(inputs, out, call.scratch)
            if call.stores:
                values[call.write] = made
            elif call.over >= 0:
                values[call.write] = out
            for slot in call.drops:
                values[slot] = None

    def _by_value(self, feeds: Dict[str, Any], run: Callable[[], None]) -> Dict[str, Any]:
        """Runs on buffers made for it, and binds the caller's again."""
        outputs = {o.name: np.empty(o.shape, o.dtype) for o in self._program.outputs}
        inputs = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        before = self._arrays
        self.bind(inputs, outputs)
        try:
            run()
        finally:
            self._arrays = before
            self._take(before)
        return outputs

    def _observe(self) -> None:
        """Runs layer by layer under the profiler, and keeps what was written."""
        written: Dict[int, List[Tensor]] = {}
        with torch.inference_mode(), Profiled() as profiled:
            for index, calls in self._layers.items():
                steps = self._network.layers[index]
                with profiled.layer(index):
                    for call, step in zip(calls, steps):
                        self._execute([Call(step, call.scratch, ())])
                written[index] = [
                    self._memory.values[step.write]
                    for step in steps
                    if not isinstance(step.kernel, Convert)
                ]
        for index, ops in self._program.layers.items():
            has_choice = any(op.kind == "Conv" for op in ops)
            functions = profiled.functions.get(index, [])
            told = applied(ops[0].algorithm, has_choice, functions, written[index])
            kernels = profiled.kernels.get(index)
            self._applied[index] = replace(told, kernel=", ".join(kernels)) if kernels else told


def reason(error: Exception) -> str:
    """The text of an error of PyTorch, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
