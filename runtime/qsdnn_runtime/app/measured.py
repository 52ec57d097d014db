"""An application as a package that is measured: what the measuring server needs of a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied
from qsdnn_runtime.program.values import FeedError
from qsdnn_runtime.session import Session

from .pipeline import Pipeline
from .stage import AppError, Sample

INPUT, RATE, RESULTS = "input", "rate_hz", "results"
"""The names of an application's inputs and output: the values, the samples a second (0: none), and
the results as bytes of JSON."""


class Outputs(NamedTuple):
    """Outputs by name, overwritten by each run."""

    outputs: Dict[str, Any]


class MeasuredApp:
    """An application of a manifest; has those methods of `Session` that measuring needs.

    The three times of a run are those of the stages before inference, of the networks, and of the
    stages after inference.

    Args:
        manifest: The manifest, which has the components' entries in ``app``, each with the manifest
            of its network.
        threads: The number of threads of the networks.
        artifacts: The folder of the artifacts of all networks.

    Raises:
        FeedError: The application is malformed.
    """

    def __init__(self, manifest: Mapping[str, Any], *, threads: int, artifacts: Path) -> None:
        def open_session(entry: Mapping[str, Any]) -> Session:
            return Session(entry["manifest"], threads=threads, artifacts=artifacts, verify=False)

        self._pipeline = _fitting(lambda: Pipeline(manifest["app"]["components"], open_session))
        self._sample = Sample(np.zeros(0))
        self._outputs: Dict[str, Any] = {}

    def bind(self, feeds: Mapping[str, Any]) -> Outputs:
        """Takes an input."""
        rate_hz = float(feeds[RATE])
        self._sample = Sample(np.asarray(feeds[INPUT]), rate_hz or None)
        return Outputs(self._outputs)

    def run_bound(self) -> None:
        """One run on the input.

        Raises:
            FeedError: The input does not fit.
        """
        self.run_timed()

    def run_timed(self) -> Tuple[int, List[int]]:
        """The nanoseconds of one run, and of its three parts."""
        found, times = _fitting(lambda: self._pipeline.run(self._sample))
        content = json.dumps(found, default=_plain).encode()
        self._outputs[RESULTS] = np.frombuffer(content, np.uint8)
        parts_ms = (times.before_ms, times.inference_ms, times.after_ms)
        return int(times.total_ms * 1e6), [int(part_ms * 1e6) for part_ms in parts_ms]

    def layer_times(self) -> Dict[int, float]:
        """An empty dict: an application has no layers."""
        return {}

    def applied(self) -> Dict[int, Applied]:
        """An empty dict: an application has no layers."""
        return {}

    def close(self) -> None:
        """Frees the networks."""
        self._pipeline.close()


def _fitting(act: Callable[[], Any]) -> Any:
    """What `act` returns.

    Raises:
        FeedError: It raised an `AppError`.
    """
    try:
        return act()
    except AppError as error:
        raise FeedError(str(error)) from error


def _plain(value: Any) -> Any:
    """An array or a number of numpy, as JSON has it."""
    return value.tolist()
