"""A board that measures nothing: it knows what every plan takes, and adds noise."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from qsdnn.board import Applied, BoardInfo, Care, Package, Record, State
from qsdnn.cost.model import CostModel
from qsdnn.engine import EngineInfo, load_engines
from qsdnn.model import load_graph

ENGINES = ("onnxruntime", "openvino")
BARE = {"onnxruntime": "onnxruntime/nchwc/fp32", "openvino": "openvino/auto/fp32"}
SLOW = "openvino/jit_gemm/fp32"
OFFERED = ("conv:jit_gemm/fp32", "pointwise:jit_gemm/fp32")
RUNS = 40
CALL_MS, MS_PER_KIB = 0.004, 0.0004


class SyntheticBoard:
    """Costs are drawn by hash: the same layer, primitive and domain cost the same everywhere.

    Args:
        noise: Relative standard deviation of a run.
        lost_after: Measuring so many packages is interrupted, as by Ctrl-C.
        cpu: Its processor.
        level: Factor on all costs.
        slow: Whether OpenVINO has another algorithm, `SLOW`, that takes longer than any else.
    """

    name = "synthetic"

    def __init__(self, noise=0.01, lost_after=None, cpu="abacus", level=1.0, slow=False):
        self.care = Care()
        self.measured: list[str] = []
        self._noise = noise
        self._lost_after = lost_after
        self._cpu = cpu
        self._level = level
        self._infos = {
            name: EngineInfo(name=name, version="1", capabilities=OFFERED if slow else ())
            for name in ENGINES
        }
        self._graphs, self._domains = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def probe(self):
        fingerprint = f"{self._cpu} × {self._level}"
        return BoardInfo(
            name=self.name, fingerprint=fingerprint, engines=self._infos, facts={"cpu": self._cpu}
        )

    def run(self, package, feeds, *, threads=1, on_progress=None):
        return {}

    def measure(self, packages, reference, options, on_progress=None):
        if self._lost_after is not None and len(self.measured) >= self._lost_after:
            raise KeyboardInterrupt
        self.measured += [package.digest for package in packages]
        return [self._record(package, options.profile) for package in packages]

    def _record(self, package: Package, profile: bool) -> Record:
        rng = np.random.default_rng(int(package.digest[:12], 16))
        segments = package.manifest["segments"]
        if package.manifest.get("bare"):
            ms = np.array([self._bare_ms(package.manifest)])
        else:
            ms = np.array([self._segment_ms(package.manifest, segment) for segment in segments])
        runs = ms * rng.lognormal(0, self._noise, (RUNS, len(ms)))
        total = runs.sum(axis=1)
        layers = [layer for segment in segments for layer in segment["layers"]] if profile else []
        return Record(
            state=State.OK,
            runs_ms=tuple(total.tolist()),
            segments_ms=tuple(map(tuple, runs.tolist())),
            ci95_ms=tuple(np.quantile(total, [0.3, 0.7]).tolist()),
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

    def _bare_ms(self, manifest):
        """An engine as it comes does what its first primitive does, and takes a little longer."""
        graph = self._graphs[manifest["model"]["sha256"]]
        primitive = BARE[manifest["segments"][0]["engine"]]
        return 1.01 * sum(self.layer_ms(layer.name, primitive) for layer in graph.layers)

    def _segment_ms(self, manifest, segment):
        ms = sum(self.layer_ms(la["name"], la["primitive"]) for la in segment["layers"])
        graph = self._graphs[manifest["model"]["sha256"]]
        crossings = self._crossings(graph, manifest, segment)
        return ms + sum(
            self.crossing_ms(way, domain, graph.tensors[name].size_bytes)
            for way, name, domain in crossings
        )

    def _crossings(self, graph, manifest, segment):
        """(direction, tensor, domain) where a tensor changes its domain, or the segment."""
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

    def know(self, model):
        """Takes a network's structure, which packages do not tell in full."""
        with tempfile.TemporaryDirectory() as folder:
            graph = load_graph(model, workdir=Path(folder))
        self._graphs[graph.sha256] = graph
        for name, engine in load_engines(ENGINES).items():
            info = self._infos[name]
            offered = [p for layer in graph.layers for p in engine.primitives(layer, info)]
            self._domains |= {str(primitive): primitive.domain for primitive in offered}

    def layer_ms(self, name, primitive):
        slower = 30.0 if primitive == SLOW else 1.0
        return slower * self._level * 0.05 * 10 ** uniform(name, primitive)

    def crossing_ms(self, way, domain, size_bytes):
        rate = MS_PER_KIB * 4 ** uniform(way, domain)
        return self._level * (
            CALL_MS * 4 ** uniform(way, domain, "call") + rate * size_bytes / 1024
        )

    def truth(self, space) -> CostModel:
        """What plans take, as a cost model."""

        def crossings(way):
            return np.array(
                [[self.crossing_ms(way, f, e.size_bytes) for f in space.domains]
                 for e in space.edges]
            )  # fmt: skip

        layer_ms = [[self.layer_ms(la, str(p)) for p in space.primitives] for la in space.layers]
        return CostModel(
            space=space,
            layer_ms=np.where(space.mask, layer_ms, np.inf),
            enter_ms=crossings("enter"),
            leave_ms=crossings("leave"),
        )


def uniform(*words):
    """A number from −½ to ½ that depends on the words alone."""
    digest = hashlib.sha256(repr(words).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 - 0.5
