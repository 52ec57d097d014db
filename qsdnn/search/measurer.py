"""Measuring for a search.

Through the store, so that nothing is measured twice, and beside anchors, so that a machine whose
speed drifts does not decide.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from qsdnn.board import Board, BoardInfo, MeasureOptions, Package, Record, Reference, State
from qsdnn.feeds import Feeds
from qsdnn.store import Key, Store

ANCHORS = "anchors_ms"
"""Where a record's context keeps the latency of the anchors it was interleaved with."""


@dataclass(slots=True)
class Counts:
    """What measuring took.

    Attributes:
        taken: Measurements made now.
        cached: Measurements the store knew.
        failed: Those of either kind that did not end well.
        board_seconds: Time the board was busy for us.
    """

    taken: int = 0
    cached: int = 0
    failed: int = 0
    board_seconds: float = 0.0


class Measurer:
    """Measures packages of one network on one board.

    Args:
        board: Started.
        store: Where measurements are kept.
        reference: The network as the user gave it, built for onnxruntime.
        feeds: Inputs of every measurement.
        tolerance: Largest relative error of an output.
        remeasure: Take measurements again that the store has.
    """

    def __init__(
        self,
        board: Board,
        store: Store,
        reference: Callable[[], Package],
        feeds: Feeds,
        *,
        tolerance: float,
        remeasure: bool = False,
    ) -> None:
        self.counts = Counts()
        self.info: BoardInfo = board.probe()
        self._board = board
        self._store = store
        self._build_reference = reference
        self._reference = Reference(feeds=feeds, tolerance=tolerance)
        self._remeasure = remeasure
        self._fresh: set[str] = set()

    def measure(
        self,
        packages: Sequence[Package],
        purpose: str,
        options: MeasureOptions,
        *,
        anchors: Sequence[Package] = (),
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """One record for each package, from the store or the board.

        Args:
            packages: What to measure.
            purpose: Part of the key: equal packages for another purpose are measured again.
            options: How.
            anchors: Packages of known latency to interleave with; each record's context keeps
                what they took beside it.
            on_progress: Told what the board does.
        """
        keys = [self.key(package, purpose, options.threads) for package in packages]
        known = [self._known(key) for key in keys]
        missing = [i for i, record in enumerate(known) if record is None]
        fresh = self._take([packages[i] for i in missing], anchors, options, on_progress)
        for i, record in zip(missing, fresh, strict=True):
            known[i] = record
            if record.state is not State.BOARD_LOST:
                self._store.put(keys[i], record)
                self._fresh.add(str(keys[i]))
        records = [record for record in known if record is not None]
        self.counts.taken += len(missing)
        self.counts.cached += len(packages) - len(missing)
        self.counts.failed += sum(record.state is not State.OK for record in records)
        return records

    def key(self, package: Package, purpose: str, threads: int) -> Key:
        """What a measurement of a package is filed under."""
        used = {segment["engine"] for segment in package.manifest["segments"]}
        return Key(
            board=self.info.fingerprint,
            engines={name: self.info.engines[name].version for name in used},
            threads=threads,
            package=package.digest,
            purpose=purpose,
        )

    def reference(self) -> Reference:
        """Inputs, and the outputs onnxruntime gives for them on the board; asked for once."""
        if self._reference.outputs is None:
            outputs = self._board.run(self._build_reference(), self._reference.feeds)
            self._reference = dataclasses.replace(self._reference, outputs=outputs)
        return self._reference

    def _known(self, key: Key) -> Record | None:
        if self._remeasure and str(key) not in self._fresh:
            return None
        return self._store.get(key)

    def _take(
        self,
        packages: Sequence[Package],
        anchors: Sequence[Package],
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None,
    ) -> list[Record]:
        if not packages:
            return []
        start = time.monotonic()
        group = [*packages, *(a for a in anchors if a.digest not in {p.digest for p in packages})]
        records = self._board.measure(group, self.reference(), options, on_progress)
        self.counts.board_seconds += time.monotonic() - start
        latencies = {
            package.digest: record.latency_ms
            for package, record in zip(group, records, strict=True)
            if record.state is State.OK
        }
        beside = {a.digest: latencies[a.digest] for a in anchors if a.digest in latencies}
        return [
            dataclasses.replace(record, context={**record.context, ANCHORS: beside})
            for record in records[: len(packages)]
        ]


def drift(record: Record, known_ms: Mapping[str, float]) -> float:
    """How much slower the machine was than when the anchors were first measured.

    Args:
        record: A measurement beside anchors.
        known_ms: First latency of each anchor, by digest.

    Returns:
        A ratio to divide the record's times by; 1 when it had no anchor.
    """
    beside: Mapping[str, float] = record.context.get(ANCHORS, {})
    ratios = [ms / known_ms[digest] for digest, ms in beside.items() if digest in known_ms]
    return median(ratios) if ratios else 1.0


def paired_ratio(a: Record, b: Record) -> tuple[float, float, float]:
    """Latency of a over latency of b, from interleaved runs: median and its 95 % interval.

    The interval comes from order statistics of the ratios of neighbouring runs: no assumption about
    their distribution.
    """
    count = min(len(a.runs_ms), len(b.runs_ms))
    ratios = np.sort(np.asarray(a.runs_ms[:count]) / np.asarray(b.runs_ms[:count]))
    half = 0.98 * np.sqrt(count)  # 1.96 × √(n/4): normal approximation of the binomial ranks
    low = max(0, int(np.floor(count / 2 - half)))
    high = min(count - 1, int(np.ceil(count / 2 + half)))
    return float(np.median(ratios)), float(ratios[low]), float(ratios[high])
