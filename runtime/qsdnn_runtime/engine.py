"""The board half of an engine: what a loader and an executable are."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence, Tuple

import numpy as np


class EngineError(Exception):
    """An engine refused an artifact, or failed to run it."""


@dataclass(frozen=True)
class EngineInfo:
    """What is installed: see `qsdnn.engine.EngineInfo`, its twin on the host."""

    name: str
    version: str
    devices: Tuple[str, ...] = ()
    capabilities: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Applied:
    """What an engine says it executed for a layer: the primitive, and its own kernel's name."""

    primitive: str
    kernel: str


@dataclass(frozen=True)
class SegmentSpec:
    """One segment of a manifest, as a loader needs it.

    Attributes:
        artifact: The main file. It and what it names may be gone once it is loaded, except for
            ``profile``.
        family: Which family of the engine's primitives the segment is of.
        inputs: Tensor names, in order.
        outputs: Tensor names, in order.
        options: What the engine's host half left for its board half.
        layers: Primitive asked for, by layer index.
    """

    artifact: Path
    family: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    options: Mapping[str, Any]
    layers: Mapping[int, str]


class Executable(Protocol):
    """A loaded segment."""

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers; `run` reads and writes them in place."""

    def run(self) -> None:
        """One inference on the bound buffers: no copies but the engine's own, no allocation."""

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value, for inputs or outputs that no static buffer can hold."""

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load; needs ``profile``."""

    def applied(self) -> Dict[int, Applied]:
        """What was executed for each layer, read back from the engine; needs ``profile``."""

    def close(self) -> None:
        """Frees everything; the executable is not used again."""


class Unprofiled:
    """Base of executables that were not loaded with ``profile``: they know nothing of layers."""

    def layer_times(self) -> Dict[int, float]:
        """Not known: it was not loaded for profiling.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")

    def applied(self) -> Dict[int, Applied]:
        """Not known: it was not loaded for profiling.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")


class Loader(Protocol):
    """The board half of an engine: a module `qsdnn_runtime.engines.<name>` has one as `LOADER`."""

    name: str

    def probe(self) -> Optional[EngineInfo]:
        """What is installed here; None when it is not."""

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> Executable:
        """Loads an artifact.

        Raises:
            EngineError: The engine refuses it.
        """


class OnnxLoader(Loader, Protocol):
    """The loader of an engine that reads ONNX, and so can run the user's own file.

    Its host half says so: `qsdnn.engine.OnnxReader`. A network in any other engine alone is one
    artifact of the host half, and needs `load` only.
    """

    def bare(
        self,
        model: Path,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
        threads: int,
    ) -> Tuple[Callable[[], None], Dict[str, Any]]:
        """Prepares a model as a user of the engine alone would: its defaults, in fp32.

        Args:
            model: The user's file.
            inputs: A value for each input, in the model's order; the loop reads arrays in place.
            outputs: Names of the model's outputs, in order.
            threads: Threads the engine may use.

        Returns:
            The loop's body, one inference in the engine's own fastest way; and the outputs by
            name, overwritten by each inference.

        Raises:
            EngineError: The engine is not installed. A model that is refused may raise anything.
        """


def find_loader(engine: str) -> Loader:
    """The loader of an engine: a module of ours, or one a stranger installed beside it.

    Raises:
        EngineError: There is none.
    """
    for module in ("qsdnn_runtime.engines." + engine, "qsdnn_loader_" + engine):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise EngineError(
                    "engine '%s' is not installed here: %s" % (engine, error)
                ) from error
            continue
        if hasattr(found, "LOADER"):  # else it is a module that loaders share
            loader: Loader = found.LOADER
            return loader
    raise EngineError("this runtime has no loader for engine '%s'" % engine)
