"""A whole network in one engine alone, with default settings: the baseline of plans and sessions.

Nothing of a session is around it: no huge pages, no buffers between segments, no settled threads. A
loader with a method `bare` (`qsdnn_runtime.engine.OnnxLoader`) runs the user's own file in the
engine's own loop. Any other loader loads the network as its host half translated it, as one
segment, which is bound once and run.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, Executable, find_loader
from qsdnn_runtime.program.arena import allocate
from qsdnn_runtime.program.manifest import load_manifest
from qsdnn_runtime.session import spec_of


class Outputs(NamedTuple):
    """Outputs by name, overwritten by each run."""

    outputs: Dict[str, Any]


class Bare:
    """An engine with a whole network; has those methods of `Session` that measuring needs.

    Args:
        manifest: A manifest of one segment, which names the engine and the file that the engine
            loads.
        threads: The number of threads the engine may use.
        artifacts: The folder of the file.

    Raises:
        EngineError: The engine is not installed.
    """

    def __init__(self, manifest: Mapping[str, Any], *, threads: int, artifacts: Path) -> None:
        self._manifest = load_manifest(manifest)
        self._segment = self._manifest.segments[0]
        self._loader: Any = find_loader(self._segment.engine)
        self._artifacts = artifacts
        self._threads = threads
        self._executable: Optional[Executable] = None
        self._inputs: Dict[str, Any] = {}
        self._outputs: Dict[str, Any] = {}
        self._run: Callable[[], None] = lambda: None

    def bind(self, feeds: Mapping[str, Any]) -> Outputs:
        """Loads the network for these inputs.

        Raises:
            EngineError: The engine refuses the network.
        """
        try:
            if hasattr(self._loader, "bare"):
                self._bind_original(feeds)
            else:
                self._bind_translated(feeds)
        except EngineError:
            raise
        except Exception as error:  # each engine has its own tree of errors
            raise EngineError(str(error) or type(error).__name__) from error
        return Outputs(self._outputs)

    def run_bound(self) -> None:
        """One inference."""
        self._run()

    def run_timed(self) -> Tuple[int, List[int]]:
        """The nanoseconds of one inference, in the form of a session of one segment."""
        start = perf_counter_ns()
        self._run()
        elapsed = perf_counter_ns() - start
        return elapsed, [elapsed]

    def layer_times(self) -> Dict[int, float]:
        """An empty dict: a network in one engine alone has no layers."""
        return {}

    def applied(self) -> Dict[int, Applied]:
        """An empty dict: a network in one engine alone has no layers."""
        return {}

    def close(self) -> None:
        """Lets the engine go, and then the engine's buffers."""
        self._run = lambda: None
        if self._executable is not None:
            self._executable.close()
            self._executable = None
        self._inputs, self._outputs = {}, {}

    def _bind_original(self, feeds: Mapping[str, Any]) -> None:
        # Engines do not keep alive the arrays that they are given a view of.
        self._inputs = {name: _contiguous(feeds[name]) for name in self._manifest.inputs}
        self._run, self._outputs = self._loader.bare(
            self._artifacts / self._segment.artifact,
            self._inputs,
            self._manifest.outputs,
            self._threads,
        )

    def _bind_translated(self, feeds: Mapping[str, Any]) -> None:
        spec = spec_of(self._segment, self._artifacts)
        executable = self._executable = self._loader.load(spec, self._threads)
        buffers = allocate(self._manifest)
        values = {**feeds, **buffers}
        for name in self._manifest.inputs:
            if name in buffers:
                np.copyto(buffers[name], feeds[name])
        self._inputs = {name: values[name] for name in self._segment.inputs}
        self._outputs = outputs = {name: buffers.get(name) for name in self._segment.outputs}
        if all(name in buffers for name in (*self._segment.inputs, *self._segment.outputs)):
            executable.bind(self._inputs, outputs)
            self._run = executable.run
        else:
            self._run = lambda: outputs.update(executable.call(self._inputs))


def _contiguous(value: Any) -> Any:
    """An array made C-contiguous; a value of another kind as it is."""
    return np.require(value, requirements="C") if isinstance(value, np.ndarray) else value
