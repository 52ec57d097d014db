"""TensorRT's builder: from an ONNX file to a serialized engine. Not run on hardware yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qsdnn_runtime.engine import EngineError

from .cache import BuildCache
from .cuda import Cuda
from .library import failure

WORKSPACE = 0.5
"""The share of the GPU's free memory that a kernel may take for its work: the rest holds weights
and tensors, and of a Jetson's memory also everything else."""


def build(
    library: Any, log: Any, cuda: Cuda, cache: BuildCache, artifact: Path, allow_tf32: bool
) -> bytes:
    """Builds an engine; what is measured of kernels meanwhile is kept for the next.

    Args:
        library: The package tensorrt.
        log: The log, from `qsdnn_runtime.engines.tensorrt.library.make_log`.
        cuda: The GPU.
        cache: The files kept on the board.
        artifact: The ONNX file, with its weights beside it.
        allow_tf32: Whether products of float32 may be computed in TF32.

    Raises:
        EngineError: TensorRT refuses the file, by node and reason, or finds no kernel.
    """
    builder = library.Builder(log)
    typed = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = library.OnnxParser(network, log)
    if not parser.parse_from_file(str(artifact)):
        raise EngineError(_refusal(parser, log))
    config = builder.create_builder_config()
    pool = library.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, int(cuda.free_bytes() * WORKSPACE))
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if allow_tf32:
        config.set_flag(library.BuilderFlag.TF32)
    else:  # which TensorRT sets by itself
        config.clear_flag(library.BuilderFlag.TF32)
    _read_timings(config, cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise failure("no engine can be built", log)
    cache.write(cache.timings(), bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _read_timings(config: Any, cache: BuildCache) -> None:
    """Gives a build the timings of earlier ones; none where TensorRT does not take them."""
    kept = cache.read(cache.timings()) or b""
    timings = config.create_timing_cache(kept)
    if timings is None or not config.set_timing_cache(timings, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _refusal(parser: Any, log: Any) -> str:
    """What the parser does not take: the node, its operator, and the reason."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if not errors:
        return str(failure("the file cannot be parsed", log))
    first = errors[0]
    reason = " ".join(str(first.desc()).split())[:400]
    if not first.node_name():
        return reason
    return "node '%s' (%s): %s" % (first.node_name(), first.node_operator(), reason)
