"""Build: a plan becomes a package, segment by segment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsdnn.board import Package
from qsdnn.calibration import Calibration
from qsdnn.engine import Engine
from qsdnn.errors import BuildError
from qsdnn.graph.extract import write_original
from qsdnn.graph.layer import Graph, Layer
from qsdnn.partition import partition
from qsdnn.primitive import Primitive
from qsdnn.segment import Artifact, Segment

SCHEMA = "qsdnn.package/1"


class Builder:
    """Builds packages of one network into one folder, where equal segments are written once.

    Args:
        graph: The network.
        engines: Host halves by name.
        folder: Where artifacts go; it must exist.
        threads: Threads the packages are for.
        calibration: Of the network, where plans may choose int8.
    """

    def __init__(
        self,
        graph: Graph,
        engines: Mapping[str, Engine],
        folder: Path,
        *,
        threads: int = 1,
        calibration: Calibration | None = None,
    ) -> None:
        self.graph = graph
        self.calibration = calibration
        self._engines = engines
        self._folder = folder
        self.threads = threads
        self._artifacts: dict[tuple[Any, ...], Artifact] = {}
        self._stamps: dict[str, dict[str, Any]] = {}

    def segments(self, choice: Sequence[Primitive]) -> list[Segment]:
        """The fewest convex segments of a plan, in execution order.

        Args:
            choice: The primitive of each layer.
        """
        layers = self.graph.layers
        before = [_predecessors(self.graph, layer) for layer in layers]
        groups = partition(before, [primitive.family for primitive in choice])
        return [self._segment([layers[i] for i in group], choice) for group in groups]

    def build(self, choice: Sequence[Primitive]) -> Package:
        """Builds a plan.

        Raises:
            BuildError: An engine cannot express one of the segments.
        """
        return self.package(self.segments(choice))

    def reference(self) -> Package:
        """The network as the user gave it, whole, in onnxruntime: what outputs are held against."""
        return self._original("onnxruntime", "onnxruntime", bare=False)

    def bare(self, engine: str) -> Package:
        """The network as the user gave it, in an engine alone, without the session around it.

        Args:
            engine: One that reads ONNX.
        """
        return self._original(engine, engine, bare=True)

    def _original(self, engine: str, family: str, *, bare: bool) -> Package:
        files = write_original(self.graph, self._folder)
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

    def _segment(self, layers: Sequence[Layer], choice: Sequence[Primitive]) -> Segment:
        inside = {layer.index for layer in layers}
        made = [name for layer in layers for name in layer.outputs]
        read_outside = {
            name
            for layer in self.graph.layers
            if layer.index not in inside
            for name in layer.inputs
        } | set(self.graph.outputs)
        read = dict.fromkeys(name for layer in layers for name in layer.inputs)
        return Segment(
            family=choice[layers[0].index].family,
            layers=tuple(layers),
            choices=tuple(choice[layer.index] for layer in layers),
            inputs=tuple(name for name in read if name not in set(made)),
            outputs=tuple(name for name in made if name in read_outside),
            graph=self.graph,
            calibration=self.calibration,
        )

    def _artifact(self, segment: Segment) -> Artifact:
        key = (tuple(layer.index for layer in segment.layers), segment.choices, segment.outputs)
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

    def package(self, segments: Sequence[Segment]) -> Package:
        """Builds the segments of a plan, see `segments`.

        Raises:
            BuildError: An engine cannot express one of them.
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
        return self._assemble(entries, [*self.graph.inputs, *names], files)

    def _assemble(
        self,
        entries: Sequence[Mapping[str, Any]],
        names: Sequence[str],
        files: Sequence[str],
        *,
        bare: bool = False,
    ) -> Package:
        tensors = {name: self.graph.tensors[name] for name in dict.fromkeys(names)}
        manifest = {
            "schema": SCHEMA,
            "model": {"name": self.graph.name, "sha256": self.graph.sha256},
            "threads": self.threads,
            **({"bare": True} if bare else {}),
            "tensors": {
                name: {"dtype": t.dtype, "shape": None if t.shape is None else list(t.shape)}
                for name, t in tensors.items()
            },
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


def _predecessors(graph: Graph, layer: Layer) -> list[int]:
    return [graph.producer[name] for name in layer.inputs if name in graph.producer]
