"""The host half of an engine, and how engines are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from qsdnn.model.layer import Graph, Layer
from qsdnn.model.segment import Artifact, Segment
from qsdnn.plugin import load_plugins
from qsdnn.primitive import Primitive

GROUP = "qsdnn.engines"

PACKAGES: Mapping[str, str] = {"blas": "numpy", "litert": "ai-edge-litert", "lne": "numpy"}
"""The packages of engines that have another name than the engine, or need none but numpy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """The description of one engine that a board has.

    Attributes:
        name: The name of the engine.
        version: The version of the engine on the board.
        devices: The devices that the engine can compute on, e.g. ``("CPU",)``.
        capabilities: The capabilities of the engine in its own words, e.g. OpenVINO's ``("FP32",
            "INT8", "BF16")``.
        lacks: What of the engine is installed and does not work, each with the reason.
    """

    name: str
    version: str
    devices: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = field(default=())
    lacks: tuple[str, ...] = ()


@runtime_checkable
class Engine(Protocol):
    """The host half of an engine. It runs nothing, and imports no inference library."""

    name: str

    def primitives(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The primitives a layer may take, of every precision; only what will really be done."""
        ...

    def build(self, segment: Segment, folder: Path) -> Artifact:
        """Writes a segment's artifact into a folder.

        Raises:
            BuildError: The segment cannot be expressed for this engine.
        """
        ...


@runtime_checkable
class Choosy(Protocol):
    """An engine that takes and gives the layouts of a primitive at some layers only."""

    def layouts(self, layer: Layer, primitive: Primitive) -> Sequence[str]:
        """The primitive's layouts in which this layer's tensors need no conversion."""
        ...


@runtime_checkable
class Reserved(Protocol):
    """An engine with primitives that it does not offer, for they are never the fastest.

    No search tries them. Whoever asks for one by name gets it: a plan, ``model.onnx@ENGINE/NAME``.
    """

    def unoffered(self, layer: Layer, info: EngineInfo) -> Sequence[Primitive]:
        """The primitives a layer may take besides those that `Engine.primitives` says."""
        ...


@runtime_checkable
class Fallback(Protocol):
    """An engine for where others are missing: a search looks at it last, while there is time."""

    is_fallback: bool


@runtime_checkable
class OnnxReader(Protocol):
    """An engine that reads ONNX: alone it runs the user's own file, by `bare` of its loader.

    Any other engine is given the network translated, as one segment.
    """

    reads_onnx: bool


@runtime_checkable
class Compiler(Protocol):
    """An engine whose host half compiles code for the board."""

    def refusal(self, info: EngineInfo) -> str:
        """The reason why nothing can be compiled for a board here; empty where all can.

        Args:
            info: What the board says of the engine.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A network as C source.

    Attributes:
        files: The content of each file, by name.
        weights_bytes: The size of the weights, which are constant.
        arena_bytes: The size of the static memory that it works in.
    """

    files: Mapping[str, bytes] = field(repr=False)
    weights_bytes: int
    arena_bytes: int


@runtime_checkable
class Coder(Protocol):
    """An engine that writes a network as C, for processors without an operating system."""

    def code(self, graph: Graph, algorithms: Sequence[str], lanes: int) -> Code:
        """The network as C source.

        Args:
            graph: The network.
            algorithms: The algorithm of each layer; empty for the engine's own choice.
            lanes: The floats in a vector of the processor; 1 where it has no vectors.

        Raises:
            UnsupportedLayerError: The engine cannot run one of the layers.
            InputError: A layer cannot take the algorithm asked for.
        """
        ...


def accepted(engine: Engine, layer: Layer, info: EngineInfo) -> tuple[Primitive, ...]:
    """All primitives that a layer may take of an engine: what it offers, then what it does not."""
    more = engine.unoffered(layer, info) if isinstance(engine, Reserved) else ()
    return (*engine.primitives(layer, info), *more)


def load_engines(names: Sequence[str] | None = None) -> Mapping[str, Engine]:
    """The registered engines by name, in the order asked for.

    Args:
        names: The names of the engines; None takes all that are registered.

    Raises:
        InputError: A name is not registered.
    """
    return load_plugins(GROUP, "engine", names)
