"""The board half of an engine: the interfaces of a loader and of an executable."""

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
    """An installed engine: see `qsdnn.engine.EngineInfo`, its twin on the host."""

    name: str
    version: str
    devices: Tuple[str, ...] = ()
    capabilities: Tuple[str, ...] = ()
    lacks: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Applied:
    """What an engine says it executed for a layer: the primitive, and the engine's kernel name."""

    primitive: str
    kernel: str


@dataclass(frozen=True)
class SegmentSpec:
    """One segment of a manifest, as a loader needs it.

    Attributes:
        artifact: The path of the main file. This file and those that it names may be gone once
            loaded, except with ``profile``.
        family: The family of the engine's primitives that the segment is made of.
        inputs: The names of the input tensors, in order.
        outputs: The names of the output tensors, in order.
        options: The options that the engine's host half left for its board half.
        layers: The primitive asked for, by layer index.
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
        """Takes the caller's buffers, by tensor name; `run` reads and writes them in place."""

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
    """Base of executables that were loaded without ``profile``: they know nothing of layers."""

    def layer_times(self) -> Dict[int, float]:
        """Raises: times of layers are known only after loading with ``profile``.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")

    def applied(self) -> Dict[int, Applied]:
        """Raises: executed primitives are known only after loading with ``profile``.

        Raises:
            EngineError: Always.
        """
        raise EngineError("the session was not loaded with profile=True")


class Loader(Protocol):
    """The board half of an engine: a module `qsdnn_runtime.engines.<name>` has one as `LOADER`."""

    name: str

    def probe(self) -> Optional[EngineInfo]:
        """The engine that is installed here; None when it is not installed."""

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> Executable:
        """Loads an artifact.

        Raises:
            EngineError: The engine refuses the artifact.
        """


class OnnxLoader(Loader, Protocol):
    """The loader of an engine that reads ONNX, and so can run the user's own file.

    The engine's host half is a `qsdnn.engine.OnnxReader`. Other engines run a network alone as one
    artifact of their host half, and need `load` only.
    """

    def bare(
        self,
        model: Path,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
        threads: int,
    ) -> Tuple[Callable[[], None], Dict[str, Any]]:
        """Prepares a model as a user of the engine alone would: with default settings, in fp32.

        Args:
            model: The user's ONNX file.
            inputs: The value of each input, in the model's order; the loop reads arrays in place.
            outputs: The names of the model's outputs, in order.
            threads: The number of threads that the engine may use.

        Returns:
            The loop's body, which is one inference in the engine's own fastest way; and the outputs
            by name, which each inference overwrites.

        Raises:
            EngineError: The engine is not installed. A model that is refused may raise anything.
        """


def installed(library: str) -> Any:
    """The Python package of an engine, by its name.

    Raises:
        EngineError: The package is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise EngineError("%s is not installed here: %s" % (library, error)) from error


def find_loader(engine: str) -> Loader:
    """The loader of an engine: a module of ours, or one that a stranger installed beside ours.

    Raises:
        EngineError: There is no loader for the engine.
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
        if hasattr(found, "LOADER"):  # else the module is one that loaders share
            loader: Loader = found.LOADER
            return loader
    raise EngineError("this runtime has no loader for engine '%s'" % engine)
