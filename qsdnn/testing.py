"""A board for tests that measures nothing: it knows what every plan takes, and adds noise.

A search on that board takes seconds and needs no engine, and what it finds can be compared with the
truth:

>>> board = SyntheticBoard()
>>> board.know("model.onnx")  # doctest: +SKIP
>>> qsdnn.search("model.onnx", board=board, engines=board.ENGINES)  # doctest: +SKIP

Besides, `qsdnn_conformance` in the wheel holds what every engine, agent and board must keep.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from qsdnn.board import (
    Applied,
    BoardInfo,
    Care,
    Evaluation,
    MeasureOptions,
    Package,
    Record,
    Reference,
    State,
)
from qsdnn.cost.model import CostModel
from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph
from qsdnn.model.layer import Graph
from qsdnn.space import Space

BARE = {"onnxruntime": "onnxruntime/nchwc/fp32", "openvino": "openvino/auto/fp32"}
SLOW = "openvino/jit_gemm/fp32"
OFFERED = ("conv:jit_gemm/fp32", "pointwise:jit_gemm/fp32")
RUNS = 40
CALL_MS, MS_PER_KIB = 0.004, 0.0004


class SyntheticBoard:
    """A `qsdnn.board.Board` whose costs are drawn by hash, the same in every process.

    The same layer, primitive and domain cost the same everywhere; crossing from one domain to
    another costs by the bytes. `truth` gives these costs as a cost model.

    Args:
        noise: The relative standard deviation of a run.
        lost_after: The number of packages after which measuring is interrupted as by Ctrl-C; None
            for no interruption.
        cpu: The processor that the board says it has.
        level: The factor on all costs.
        slow: Whether OpenVINO has another algorithm, `SLOW`, that takes longer than any other.

    Attributes:
        measured: The digests of the packages that were measured, in their order.
    """

    ENGINES = ("onnxruntime", "openvino")
    name = "synthetic"
    elsewhere = False

    def __init__(
        self,
        noise: float = 0.01,
        lost_after: int | None = None,
        cpu: str = "abacus",
        level: float = 1.0,
        slow: bool = False,
    ) -> None:
        self.care = Care()
        self.spent_s: dict[str, float] = {}
        self.measured: list[str] = []
        self._noise = noise
        self._lost_after = lost_after
        self._cpu = cpu
        self._level = level
        self._infos = {
            name: EngineInfo(name=name, version="1", capabilities=OFFERED if slow else ())
            for name in self.ENGINES
        }
        self._graphs: dict[str, Graph] = {}
        self._domains: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def know(self, model: str | Path) -> None:
        """Takes in a network's structure, which packages do not tell in full.

        Raises:
            InputError: The file is no network.
        """
        with tempfile.TemporaryDirectory() as folder:
            graph = load_graph(Path(model), workdir=Path(folder))
        self._graphs[graph.sha256] = graph
        for name, engine in load_engines(self.ENGINES).items():
            info = self._infos[name]
            offered = [p for layer in graph.layers for p in engine.primitives(layer, info)]
            self._domains |= {str(primitive): primitive.domain for primitive in offered}

    def probe(self) -> BoardInfo:
        """The description of the board: see `qsdnn.board.Board.probe`."""
        fingerprint = f"{self._cpu} × {self._level}"
        return BoardInfo(
            name=self.name, fingerprint=fingerprint, engines=self._infos, facts={"cpu": self._cpu}
        )

    def hold(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Nothing: no other host measures on the board."""

    def run(
        self,
        package: Package,
        feeds: Mapping[str, Any],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """An empty dict of outputs: the board computes nothing."""
        return {}

    def evaluate(
        self,
        packages: Sequence[Package],
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Evaluation]:
        """Evaluations in the state `State.UNSUPPORTED`: the board computes nothing."""
        return [Evaluation(state=State.UNSUPPORTED, error="it computes nothing")] * len(packages)

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """The true latencies, with noise; outputs are taken to be right.

        Raises:
            KeyboardInterrupt: As many packages were measured as `lost_after` says.
        """
        if self._lost_after is not None and len(self.measured) >= self._lost_after:
            raise KeyboardInterrupt
        self.measured += [package.digest for package in packages]
        return [self._record(package, profile=options.profile) for package in packages]

    def layer_ms(self, name: str, primitive: str) -> float:
        """The time of a layer in a primitive, without crossings."""
        slower = 30.0 if primitive == SLOW else 1.0
        return slower * self._level * 0.05 * 10 ** uniform(name, primitive)

    def crossing_ms(self, way: str, domain: str, size_bytes: float) -> float:
        """The time to take a tensor into a domain (``enter``), or out of a domain (``leave``)."""
        rate = MS_PER_KIB * 4 ** uniform(way, domain)
        call_ms = CALL_MS * 4 ** uniform(way, domain, "call")
        return self._level * (call_ms + rate * size_bytes / 1024)

    def truth(self, space: Space) -> CostModel:
        """The true costs of plans, as a cost model."""

        def crossings(way: str) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.array(
                [
                    [self.crossing_ms(way, domain, edge.size_bytes) for domain in space.domains]
                    for edge in space.edges
                ]
            )

        layer_ms = [[self.layer_ms(la, str(p)) for p in space.primitives] for la in space.layers]
        return CostModel(
            space=space,
            layer_ms=np.where(space.mask, layer_ms, np.inf),
            enter_ms=crossings("enter"),
            leave_ms=crossings("leave"),
        )

    def _record(self, package: Package, *, profile: bool) -> Record:
        rng = np.random.default_rng(int(package.digest[:12], 16))
        segments = package.manifest["segments"]
        if package.manifest.get("bare"):
            ms = np.array([self._bare_ms(package.manifest)])
        else:
            ms = np.array([self._segment_ms(package.manifest, segment) for segment in segments])
        runs = ms * rng.lognormal(0, self._noise, (RUNS, len(ms)))
        total = runs.sum(axis=1)
        low_ms, high_ms = np.quantile(total, [0.3, 0.7]).tolist()
        layers = [layer for segment in segments for layer in segment["layers"]] if profile else []
        return Record(
            state=State.OK,
            runs_ms=tuple(total.tolist()),
            segments_ms=tuple(map(tuple, runs.tolist())),
            ci95_ms=(low_ms, high_ms),
            layers_ms={
                la["index"]: self.layer_ms(la["name"], la["primitive"]) * rng.lognormal(0, 0.05)
                for la in layers
            },
            applied={
                la["index"]: Applied(primitive=la["primitive"], kernel=la["primitive"] + la["name"])
                for la in layers
            },
            max_error=0.0,
        )

    def _bare_ms(self, manifest: Mapping[str, Any]) -> float:
        """The time of an engine as it comes: that of its first primitive, and a little longer."""
        graph = self._graphs[manifest["model"]["sha256"]]
        primitive = BARE[manifest["segments"][0]["engine"]]
        return 1.01 * sum(self.layer_ms(layer.name, primitive) for layer in graph.layers)

    def _segment_ms(self, manifest: Mapping[str, Any], segment: Mapping[str, Any]) -> float:
        ms = sum(self.layer_ms(la["name"], la["primitive"]) for la in segment["layers"])
        graph = self._graphs[manifest["model"]["sha256"]]
        crossings = self._crossings(graph, manifest, segment)
        return ms + sum(
            self.crossing_ms(way, domain, graph.tensors[name].size_bytes or 0)
            for way, name, domain in crossings
        )

    def _crossings(
        self, graph: Graph, manifest: Mapping[str, Any], segment: Mapping[str, Any]
    ) -> set[tuple[str, str, str]]:
        """The triples (direction, tensor, domain) where a tensor changes domain or segment."""
        found = set()
        inside = {la["index"]: self._domains[la["primitive"]] for la in segment["layers"]}
        for index, domain in inside.items():
            for name in set(graph.layers[index].inputs) - set(manifest["inputs"]):
                maker = inside.get(graph.producer[name])
                if maker != domain:
                    found.add(("enter", name, domain))
                    if maker is not None:
                        found.add(("leave", name, maker))
            for name in set(graph.layers[index].outputs) & set(segment["outputs"]):
                if name not in manifest["outputs"]:
                    found.add(("leave", name, domain))
        return found


def uniform(*words: str) -> float:
    """A number from −½ to ½ that depends on the words alone."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 - 0.5
