"""Fakes of TensorRT's Python API and of libcudart: nothing here is NVIDIA's, or computes on a GPU.

The fake engine has an input ``x`` and an output ``y`` of float32, and computes y = 2 x + 1. Memory
of the fake GPU is this machine's.
"""

from __future__ import annotations

import ctypes
import json
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

SHAPE = (2, 3)
NODES = {"0:0": 0, "0:1": 0, "1:0": 1, "2:0": 2, "3:0": 3, "3:cast:y/fp16": 3}


def tensor(words):
    return {"Name": "t", "Dimensions": [1, 8, 4, 4], "Format/Datatype": words}


def layer(name, kind, kernel, types, nodes=()):
    """A layer of an engine in the form that NVIDIA's documentation of the inspector shows."""
    found = {"Name": name, "LayerType": kind, "TacticName": kernel, "StreamId": 0}
    found["Inputs"], found["Outputs"] = [tensor(types[0])], [tensor(types[1])]
    found["Metadata"] = "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes)
    return found


FP32, FP16 = "Row major linear FP32", "Channel major FP16 format where channel % 8 == 0"
LAYERS = [
    layer("0:0 + 0:1 + 1:0", "CaskConvolution", "sm80_f32f32", (FP32, FP32)),
    layer("Reformatting CopyNode for Input Tensor 0 to 2:0", "Reformat", "copy", (FP32, FP16),
          ("2:0",)),
    layer("2:0", "CaskConvolution", "sm80_h1688", (FP16, FP16), ("2:0",)),
    layer("__myl_CastMul_myl0_1", "kgen", "", ("Half", "Float"), ("3:cast:y/fp16", "3:0")),
]  # fmt: skip
TIMES = {one["Name"]: time_ms for one, time_ms in zip(LAYERS, (4.0, 0.5, 2.0, 1.0), strict=True)}
ASKED = {i: f"tensorrt/auto/{p}" for i, p in enumerate(("fp32", "fp32", "fp16", "fp16"))}


class FakeCudart:
    """libcudart with one GPU; functions in `fails` fail. What is queued is done at once."""

    def __init__(self, fails=(), major=8, count=1):
        self.fails, self.major, self.count = set(fails), major, count
        self.calls, self.memory = [], {}
        self.recorded = None  # what is queued while the stream records
        self.cudaGetErrorString = lambda code: b"it does not work"

    def __getattr__(self, name):
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def function(*arguments):
            self.calls.append(name)
            if name in self.fails:
                return 2  # cudaErrorMemoryAllocation
            getattr(type(self), "_" + name, lambda *_: None)(self, *arguments)
            return 0

        return function

    def queue(self, work):
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)

    def _take(self, made, size_bytes):
        buffer = ctypes.create_string_buffer(size_bytes.value)
        made._obj.value = ctypes.addressof(buffer)
        self.memory[made._obj.value] = buffer

    def _cudaMalloc(self, made, size_bytes):
        self._take(made, size_bytes)

    def _cudaHostAlloc(self, made, size_bytes, flags):
        self._take(made, size_bytes)

    def _cudaFree(self, address):
        del self.memory[address.value]

    _cudaFreeHost = _cudaFree

    def _cudaStreamCreateWithFlags(self, made, flags):
        made._obj.value = 7

    def _cudaMemcpyAsync(self, target, source, size_bytes, kind, stream):
        assert stream.value == 7
        self.calls[-1] += {1: ":in", 2: ":out"}[kind.value]
        self.queue(lambda: ctypes.memmove(target.value, source.value, size_bytes.value))

    def _cudaStreamBeginCapture(self, stream, mode):
        self.recorded = []

    def _cudaStreamEndCapture(self, stream, graph):
        self.graph, self.recorded = self.recorded, None
        graph._obj.value = 8 if self.graph else None

    def _cudaGraphInstantiateWithFlags(self, made, graph, flags):
        made._obj.value = 9

    def _cudaGraphLaunch(self, graph, stream):
        for work in self.graph:
            work()

    def _cudaGetDeviceCount(self, count):
        count._obj.value = self.count

    def _cudaGetDeviceProperties(self, properties, device):
        properties.raw = b"Fake GPU\0".ljust(len(properties), b"\xff")

    def _cudaDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = {75: self.major, 76: 0}[attribute.value]

    def _cudaMemGetInfo(self, free, total):
        free._obj.value, total._obj.value = 1000, 2000


class _Named:
    """An object whose attributes are what it was made with, and whatever is set later."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class FakeTensorrt:
    """The module tensorrt, as far as the engine uses it.

    Args:
        cudart: The fake of the GPU that kernels run on.
        layers: What the inspector tells of the engine's layers.
        times_ms: What the profiler tells of an inference, by the names of the engine's layers.
    """

    __version__ = "10.3.0"

    class ILogger:
        Severity = IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING"])

    class IProfiler:
        pass

    NetworkDefinitionCreationFlag = IntEnum("Flag", {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1})
    BuilderFlag = SimpleNamespace(TF32="tf32")
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    LayerInformationFormat = SimpleNamespace(JSON="json")

    def __init__(self, cudart, layers=(), times_ms=()):
        self.cudart = cudart
        self.layers, self.times_ms = list(layers), dict(times_ms)
        self.calls, self.refusals, self.config = [], [], None
        self.builds = True
        self.executes = True

    def nptype(self, dtype):
        return np.dtype(dtype).type

    def Builder(self, log):
        self.log = log
        return _Named(
            create_network=lambda flags: self.calls.append(f"network {flags}") or "network",
            create_builder_config=self._config,
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network, log):
        return _Named(
            parse_from_file=lambda path: not self.refusals,
            num_errors=len(self.refusals),
            get_error=lambda i: self.refusals[i],
        )

    def _config(self):
        flags, config = {"tf32"}, _Named()  # TensorRT sets TF32 by itself
        config.flags, config.pools = flags, {}
        config.set_flag, config.clear_flag = flags.add, flags.discard
        config.set_memory_pool_limit = config.pools.__setitem__
        config.create_timing_cache = lambda kept: None if kept == b"broken" else [kept]
        config.set_timing_cache = lambda cache, mismatch: setattr(config, "timings", cache) or True
        config.get_timing_cache = lambda: _Named(serialize=lambda: memoryview(b"timings"))
        self.config = config
        return config

    def _build(self, network, config):
        self.calls.append("build")
        if not self.builds:
            self.log.log(self.ILogger.Severity.ERROR, "no kernel\n  for node 0:0")
            return None
        return memoryview(b"plan")

    def Runtime(self, log):
        self.log = log
        return _Named(deserialize_cuda_engine=lambda plan: self if plan == b"plan" else None)

    # The engine.

    def get_tensor_shape(self, name):
        return SHAPE

    def get_tensor_dtype(self, name):
        return np.float32

    def create_execution_context(self):
        addresses, context = {}, _Named(profiler=None)
        context.set_tensor_address = lambda name, to: addresses.__setitem__(name, to) or True
        context.execute_async_v3 = lambda stream: self._execute(context, addresses, stream)
        return context

    def _execute(self, context, addresses, stream):
        self.cudart.calls.append(f"execute {stream}")
        if not self.executes:
            self.log.log(self.ILogger.Severity.ERROR, "it is lost")
            return False

        def at(name):
            memory = (ctypes.c_float * int(np.prod(SHAPE))).from_address(addresses[name])
            return np.frombuffer(memory, np.float32)

        self.cudart.queue(lambda: np.copyto(at("y"), 2 * at("x") + 1))
        for name, time_ms in self.times_ms.items() if context.profiler else ():
            context.profiler.report_layer_time(name, time_ms)
        return True

    def create_engine_inspector(self):
        text = json.dumps({"Layers": self.layers, "Bindings": ["x", "y"]})
        return _Named(get_engine_information=lambda form: text)


class FakeParserError:
    """An error of the parser, as ``tensorrt.ParserError`` has it."""

    def __init__(self, node, operator, text):
        self.node_name = lambda: node
        self.node_operator = lambda: operator
        self.desc = lambda: text
