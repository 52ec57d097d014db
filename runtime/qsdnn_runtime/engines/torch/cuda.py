"""A loaded segment on a GPU: its steps recorded once in one graph, and replayed.

Inputs and outputs have tensors of their own on the device, whose addresses never change, and
page-locked ones beside them here. Not run on hardware yet: only a CPU was at hand.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch

from qsdnn_runtime.engines.blas.kernel import Operand
from qsdnn_runtime.engines.blas.program import Program

from .domain import Domain
from .executable import Call, TorchExecutable
from .gpu import Gpu, Pair, allow_tf32, between


class CudaExecutable(TorchExecutable):
    """Runs a program on a GPU; see `qsdnn_runtime.engine.Executable`.

    Args:
        program: The segment, as operators.
        threads: The number of threads that PyTorch may use on the CPU.
        profile: Whether to time each layer: then nothing is recorded, and layers run one by one.
        gpu: The stream to run on; None makes one.

    Raises:
        EngineError: An operator has no kernel.
    """

    def __init__(
        self,
        program: Program,
        threads: int,
        profile: bool,
        gpu: Optional[Gpu] = None,
    ) -> None:
        self._gpu = gpu or Gpu()
        self.device = self._gpu.device
        super().__init__(program, threads, profile)
        self._inputs = self._pairs(program.inputs, self._network.inputs)
        self._outputs = self._pairs(program.outputs, self._network.outputs)
        self._graph: Any = None
        self._stamps: List[Any] = []
        if not profile:
            with torch.inference_mode():
                self._graph = self._gpu.record(lambda: self._execute(self._flat))

    def close(self) -> None:
        """Drops the graph, tensors and weights."""
        self._graph, self._inputs, self._outputs = None, {}, {}
        super().close()

    def _pairs(self, operands: Sequence[Operand], slots: Dict[str, int]) -> Dict[int, Pair]:
        domain = Domain(self.device)
        pairs = {
            slots[operand.name]: self._gpu.pair(operand.shape, domain.type_of(operand.dtype))
            for operand in operands
        }
        for slot, (_, there) in pairs.items():
            self._memory.values[slot] = there
        return pairs

    def _take(self, buffers: Dict[int, np.ndarray]) -> None:
        """Nothing: runs copy from and to the caller's buffers."""

    def _run(self) -> None:
        self._copied_in()
        run = self._layer_by_layer if self._graph is None else self._graph.replay
        self._gpu.exchange([*self._inputs.values()], run, [*self._outputs.values()])
        for slot, (here, _) in self._outputs.items():
            np.copyto(self._arrays[slot], here.numpy())
        if self._stamps:
            for index, time_ms in zip(self._layers, between(self._stamps)):
                self._times[index] += time_ms
            self._stamps = []

    def _copied_in(self) -> None:
        for slot, (here, _) in self._inputs.items():
            np.copyto(here.numpy(), self._arrays[slot])

    def _layer_by_layer(self) -> None:
        self._stamps = [self._gpu.stamp()]
        for calls in self._layers.values():
            self._execute(calls)
            self._stamps.append(self._gpu.stamp())

    def _execute(self, calls: Sequence[Call]) -> None:
        """Queues calls, each with the arithmetic that its precision allows."""
        try:
            for call in calls:
                allow_tf32(call.precision == "tf32")
                super()._execute([call])
        finally:
            allow_tf32(False)

    def _observe(self) -> None:
        self._gpu.settle(super()._observe)
