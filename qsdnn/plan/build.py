"""The build of a package from a plan, segment by segment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qsdnn.board import Package
from qsdnn.engine import Choosy, Engine, EngineInfo, Fallback, OnnxReader, accepted
from qsdnn.errors import BuildError, InputError, UnsupportedLayerError, unknown
from qsdnn.model.calibration import Calibration
from qsdnn.model.extract import write_original
from qsdnn.model.layer import Graph, Layer, Tensor
from qsdnn.model.opset import versions_read
from qsdnn.model.segment import Artifact, Segment, fits, partition
from qsdnn.primitive import Precision, Primitive

SCHEMA = "qsdnn.package/1"

REFERENCE = "onnxruntime"
"""The engine that defines what a network computes; every board has it."""


class Builder:
    """A builder of packages of one network in one folder, where equal segments are written once.

    Args:
        graph: The network.
        engines: The host halves of the engines, by name.
        folder: The folder of the artifacts, which must exist.
        threads: The number of threads that the packages are for.
        calibration: The ranges of the network's tensors, where plans may choose int8; None where
            all is in floats.
        infos: The descriptions of the board's engines, by name: `bare` reads them for what each
            engine takes, and the versions of ONNX are those they name.
    """

    def __init__(
        self,
        graph: Graph,
        engines: Mapping[str, Engine],
        folder: Path,
        *,
        threads: int = 1,
        calibration: Calibration | None = None,
        infos: Mapping[str, EngineInfo] = MappingProxyType({}),
    ) -> None:
        self.graph = graph
        self.calibration = calibration
        self._engines = engines
        self._infos = infos
        self._folder = folder
        self._reads = versions_read(w for info in infos.values() for w in info.capabilities)
        self.threads = threads
        self._artifacts: dict[tuple[Any, ...], Artifact] = {}
        self._stamps: dict[str, dict[str, Any]] = {}
        self._readers = _readers(graph)
        self._offers: dict[tuple[int, Primitive, tuple[str, ...]], tuple[str, ...]] = {}

    def segments(self, choice: Sequence[Primitive]) -> list[Segment]:
        """The fewest convex segments of a plan, in execution order.

        Args:
            choice: The primitive of each layer.
        """
        layers = self.graph.layers
        before = [_predecessors(self.graph, layer) for layer in layers]
        groups = partition(before, [primitive.family for primitive in choice])
        layouts = self._layouts(groups, choice)
        return [self._segment([layers[i] for i in group], choice, layouts) for group in groups]

    def build(self, choice: Sequence[Primitive]) -> Package:
        """Builds a plan.

        Raises:
            BuildError: An engine cannot express one of the segments.
        """
        return self.package(self.segments(choice))

    def reference(self) -> Package:
        """Builds the network as the user gave it, in onnxruntime: the reference of all outputs."""
        return self._original(REFERENCE, REFERENCE, bare=False)

    def is_fallback(self, engine: str) -> bool:
        """Whether an engine is for where others are missing: see `qsdnn.engine.Fallback`."""
        return isinstance(self._engines.get(engine), Fallback)

    def bare(self, engine: str, algorithm: str = "") -> Package:
        """Builds the network for an engine alone, as the engine comes, without a session around it.

        An engine that reads ONNX runs the network as the user gave it. Any other gets all of it as
        one segment, each layer as that engine does it by default: the fp32 primitive it offers
        first.

        Args:
            engine: The name of the engine, one that the builder has, or the reference.
            algorithm: The algorithm of all layers that can take it, offered or not; empty for the
                engine's defaults.

        Raises:
            UnsupportedLayerError: The engine cannot run one of the layers.
            InputError: The builder does not have the engine, or no layer can take the algorithm.
        """
        if engine not in self._engines and engine != REFERENCE:
            raise unknown("engine", engine, self._engines)
        if engine == REFERENCE or isinstance(self._engines[engine], OnnxReader):
            if algorithm:
                raise InputError(
                    f"{engine} alone chooses its algorithms itself",
                    hint=f"leave out /{algorithm}",
                )
            return self._original(engine, engine, bare=True)
        choice = [self._default(engine, layer) for layer in self.graph.layers]
        if algorithm:
            choice = self._with(algorithm, choice)
        segment = self._segment(self.graph.layers, choice, {})
        try:
            return self.package([segment], bare=True)
        except BuildError as error:
            raise UnsupportedLayerError(error.message, hint=error.hint) from error

    def _default(self, engine: str, layer: Layer) -> Primitive:
        for primitive in self._primitives(engine, layer):
            if primitive.precision is Precision.FP32:
                return primitive
        raise UnsupportedLayerError(
            f"{engine} cannot run layer '{layer.name}' ({', '.join(layer.op_types)}): "
            f"{layer.pinned or self._refusal(engine, layer)}",
            hint=f"it cannot run this network alone: leave out @{engine}",
        )

    def _info(self, engine: str) -> EngineInfo:
        return self._infos.get(engine) or EngineInfo(name=engine, version="")

    def _primitives(self, engine: str, layer: Layer) -> Sequence[Primitive]:
        return self._engines[engine].primitives(layer, self._info(engine))

    def _with(self, algorithm: str, choice: Sequence[Primitive]) -> list[Primitive]:
        """The primitives of one engine, those of an algorithm where layers can take it.

        All are of one family: the default one, if the algorithm occurs in it.
        """
        engine, layers = choice[0].engine, self.graph.layers
        info = self._info(engine)
        rows = [
            [
                p
                for p in accepted(self._engines[engine], layer, info)
                if p.precision is Precision.FP32
            ]
            for layer in layers
        ]
        known = {p.algorithm: p.family for row in rows for p in row[::-1]}
        families = {p.family for row in rows for p in row if p.algorithm == algorithm}
        if not families:
            raise unknown(f"algorithm of {engine}", algorithm, known)
        family = choice[0].family if choice[0].family in families else known[algorithm]
        found: list[Primitive] = []
        for layer, row in zip(layers, rows, strict=True):
            own = [p for p in row if p.family == family]
            if not own:
                raise UnsupportedLayerError(
                    f"{engine}/{algorithm} cannot run layer '{layer.name}' "
                    f"({', '.join(layer.op_types)})",
                    hint=f"it cannot run this network alone: leave out @{engine}/{algorithm}",
                )
            found.append(next((p for p in own if p.algorithm == algorithm), own[0]))
        return found

    def _refusal(self, engine: str, layer: Layer) -> str:
        """The reason why an engine offers nothing for a layer, as building the layer tells."""
        family = next(
            (p.family for other in self.graph.layers for p in self._primitives(engine, other)),
            engine,
        )
        wanted = Primitive(engine=engine, algorithm="auto", precision=Precision.FP32, family=family)
        segment = self._segment([layer], {layer.index: wanted}, {})
        try:
            self._engines[engine].build(segment, self._folder)
        except BuildError as error:
            return error.message.rpartition(f"'{layer.name}': ")[2]
        return "it has nothing that computes exactly what ONNX says"

    def _original(self, engine: str, family: str, *, bare: bool) -> Package:
        files = write_original(self.graph, self._folder, self._reads)
        entry = {
            "engine": engine,
            "family": family,
            "artifact": files[0],
            "inputs": list(self.graph.inputs),
            "outputs": list(self.graph.outputs),
            "options": {"nodes": {}, "tensors": {}},
            "layers": [],
        }
        names = [*self.graph.inputs, *self.graph.outputs]
        return self._assemble([entry], names, files, bare=bare)

    def _layouts(
        self, groups: Sequence[Sequence[int]], choice: Sequence[Primitive]
    ) -> dict[str, str]:
        """The layouts of the tensors that cross between segments unconverted, by tensor name.

        A layout is one that the maker and all readers of the tensor have; the caller has ONNX's own
        order.
        """
        place = {layer: number for number, group in enumerate(groups) for layer in group}
        found = {}
        for name, readers in self._readers.items():
            producer = self.graph.producer[name]
            if name in self.graph.outputs or len({place[i] for i in (producer, *readers)}) == 1:
                continue
            for layout in self._offered(producer, choice):
                taken = all(layout in self._offered(reader, choice) for reader in readers)
                if taken and fits(layout, self.graph.tensors[name]):
                    found[name] = layout
        return found

    def _offered(self, index: int, choice: Sequence[Primitive]) -> tuple[str, ...]:
        """The layouts in which a layer takes and gives tensors."""
        primitive = choice[index]
        if not primitive.layouts:
            return ()
        key = (index, primitive, primitive.layouts)
        if key not in self._offers:
            engine = self._engines[primitive.engine]
            self._offers[key] = (
                tuple(engine.layouts(self.graph.layers[index], primitive))
                if isinstance(engine, Choosy)
                else primitive.layouts
            )
        return self._offers[key]

    def _segment(
        self,
        layers: Sequence[Layer],
        choice: Sequence[Primitive] | Mapping[int, Primitive],
        layouts: Mapping[str, str],
    ) -> Segment:
        inside = {layer.index for layer in layers}
        made = [name for layer in layers for name in layer.outputs]
        read_outside = {
            name
            for layer in self.graph.layers
            if layer.index not in inside
            for name in layer.inputs
        } | set(self.graph.outputs)
        read = dict.fromkeys(name for layer in layers for name in layer.inputs)
        inputs = tuple(name for name in read if name not in set(made))
        outputs = tuple(name for name in made if name in read_outside)
        return Segment(
            family=choice[layers[0].index].family,
            layers=tuple(layers),
            choices=tuple(choice[layer.index] for layer in layers),
            inputs=inputs,
            outputs=outputs,
            graph=self.graph,
            calibration=self.calibration,
            layouts={n: layouts[n] for n in (*inputs, *outputs) if n in layouts},
            reads=self._reads,
        )

    def _artifact(self, segment: Segment) -> Artifact:
        indices = tuple(layer.index for layer in segment.layers)
        layouts = tuple(segment.layouts.items())
        key = (indices, segment.choices, segment.outputs, layouts)
        if key not in self._artifacts:
            engine = self._engines[segment.engine]
            try:
                self._artifacts[key] = engine.build(segment, self._folder)
            except BuildError as error:
                first, last = segment.layers[0].name, segment.layers[-1].name
                raise BuildError(
                    f"{segment.engine} cannot build layers '{first}' … '{last}': {error.message}",
                    hint=error.hint,
                ) from error
        return self._artifacts[key]

    def package(self, segments: Sequence[Segment], *, bare: bool = False) -> Package:
        """Builds the segments of a plan: see `segments`.

        Args:
            segments: The segments.
            bare: Whether to run the one segment without a session around it.

        Raises:
            BuildError: An engine cannot express one of the segments.
        """
        built = [(segment, self._artifact(segment)) for segment in segments]
        entries = [
            {
                "engine": segment.engine,
                "family": segment.family,
                "artifact": artifact.file,
                "inputs": list(segment.inputs),
                "outputs": list(segment.outputs),
                "options": dict(artifact.options),
                "layers": [
                    {"index": layer.index, "name": layer.name, "primitive": str(primitive)}
                    for layer, primitive in zip(segment.layers, segment.choices, strict=True)
                ],
            }
            for segment, artifact in built
        ]
        names = [n for s, _ in built for n in (*s.inputs, *s.outputs)]
        files = [file for _, artifact in built for file in artifact.files]
        layouts = {name: layout for s, _ in built for name, layout in s.layouts.items()}
        names = [*self.graph.inputs, *names]
        return self._assemble(entries, names, files, layouts, bare=bare)

    def _assemble(
        self,
        entries: Sequence[Mapping[str, Any]],
        names: Sequence[str],
        files: Sequence[str],
        layouts: Mapping[str, str] = MappingProxyType({}),
        *,
        bare: bool = False,
    ) -> Package:
        tensors = [self.graph.tensors[name] for name in dict.fromkeys(names)]
        manifest = {
            "schema": SCHEMA,
            "model": {"name": self.graph.name, "sha256": self.graph.sha256},
            "threads": self.threads,
            **({"bare": True} if bare else {}),
            "tensors": {t.name: _described(t, layouts.get(t.name, "")) for t in tensors},
            "inputs": list(self.graph.inputs),
            "outputs": list(self.graph.outputs),
            "segments": list(entries),
            "artifacts": {file: self._stamp(file) for file in sorted(set(files))},
        }
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        return Package(manifest=manifest, folder=self._folder, digest=digest)

    def _stamp(self, file: str) -> dict[str, Any]:
        if file not in self._stamps:
            path = self._folder / file
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            self._stamps[file] = {"sha256": digest, "size_bytes": path.stat().st_size}
        return self._stamps[file]


def _described(tensor: Tensor, layout: str) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"dtype": tensor.dtype, "shape": shape, **({"layout": layout} if layout else {})}


def _readers(graph: Graph) -> dict[str, list[int]]:
    """The indices of the layers that read each tensor that a layer makes."""
    readers: dict[str, list[int]] = {}
    for layer in graph.layers:
        for name in layer.inputs:
            if name in graph.producer:
                readers.setdefault(name, []).append(layer.index)
    return readers


def _predecessors(graph: Graph, layer: Layer) -> list[int]:
    return [graph.producer[name] for name in layer.inputs if name in graph.producer]
