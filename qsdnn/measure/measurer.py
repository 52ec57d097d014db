"""Measuring for a search.

All measuring goes through the store, so that nothing is measured twice, and beside anchors, so that
a machine whose speed drifts does not decide.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import (
    Board,
    BoardInfo,
    Context,
    MeasureOptions,
    Package,
    Record,
    Reference,
    State,
    Step,
    Trust,
)
from qsdnn.errors import ModelError, RunError
from qsdnn.latency import pairs, quiet_ms, undisturbed
from qsdnn.measure.batches import room_of, together
from qsdnn.measure.recovery import Recovery
from qsdnn.measure.trust import notes
from qsdnn.store import Key, Store
from qsdnn_runtime.server.trust import median_interval

TURNS = 2
"""The least number of sittings of what is compared and was not in one process: A B B A, for
drift."""

BORROWED = 3
"""The least number of packages that the board has room for at once for one to be an anchor that
nobody asked for: with less room, loading would take more than half as long again."""

NOISE_LASTS_S = 3600.0
"""The age in seconds from which a disturbance may be over: a later run measures again."""


@dataclass(slots=True)
class Counts:
    """The counts of what measuring took.

    Attributes:
        taken: The number of measurements made now.
        cached: The number of measurements that the store knew.
        failed: The number of measurements, of either kind, that did not end well.
        board_seconds: The time in seconds that the board was busy for this search.
        waited_s: The time that the board was waited for before it measured anything: until no other
            host measured there, and until it was cool.
    """

    taken: int = 0
    cached: int = 0
    failed: int = 0
    board_seconds: float = 0.0
    waited_s: float = 0.0


class Measurer:
    """Measures packages of one network on one board.

    Args:
        board: The board, already started.
        store: The store that keeps the measurements.
        build_reference: A function that builds the network as the user gave it, for onnxruntime.
        reference: The inputs of every measurement, and the tolerance; without outputs.
        remeasure: Whether to take measurements again that the store has.
        on_note: Called at once with what becomes of a board that was lost.

    Attributes:
        counts: The counts of what measuring took so far.
        info: The description of the board.
        notes: The board's notes to the user so far.
    """

    def __init__(
        self,
        board: Board,
        store: Store,
        build_reference: Callable[[], Package],
        reference: Reference,
        *,
        remeasure: bool = False,
        on_note: Callable[[str], None] = lambda note: None,
    ) -> None:
        self.counts = Counts()
        self.notes: list[str] = []
        self.info: BoardInfo = board.probe()
        self._board = board
        self._store = store
        self._build_reference = build_reference
        self._reference = reference
        self._remeasure = remeasure
        self._recovery = Recovery(self._run_reference, on_note)
        self._fresh: set[str] = set()

    @property
    def elsewhere(self) -> bool:
        """Whether this machine's work leaves measurements undisturbed: see `Board.elsewhere`."""
        return self._board.elsewhere

    def hold(self, on_progress: Callable[[str], None] | None = None) -> None:
        """Waits until the board measures for this host alone: see `Board.hold`.

        Raises:
            BoardError: Another host still measures on the board, or the board was lost and does not
                come back.
        """
        start_s = time.monotonic()
        self._recovery.persist(lambda: self._board.hold(on_progress))
        self.counts.waited_s += time.monotonic() - start_s

    def measure(
        self,
        packages: Sequence[Package],
        purpose: str,
        options: MeasureOptions,
        *,
        anchors: Sequence[Package] = (),
        paired: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """The record of each package, from the store or the board.

        What another run has stored is measured again where it was throttled, and where it was
        noisy or disturbed more than an hour ago.

        Packages that there is no room for at once (`qsdnn.measure.batches`) are measured in parts,
        each beside the anchors, or beside one package of the first part where there are no anchors;
        the budget is divided among the parts. Where there is no room for all anchors, the last
        alone is one. Where not even one package fits beside it, and where all are paired, packages
        are in processes of their own, as many in each as fit, which take turns: sittings are
        compared then, and not runs.

        Args:
            packages: The packages to measure.
            purpose: The purpose, part of the key: equal packages for another purpose are measured
                again.
            options: The options of measuring.
            anchors: The packages of known latency to interleave with, the one that matters most
                last; each record's context keeps what they took beside it.
            paired: Whether the packages are to be compared with one another: all are measured
                together, or none.
            on_progress: Called with texts that say what the board does.

        Raises:
            BoardError: The board was lost and does not come back, or refuses to measure; what was
                measured before is stored.
        """
        keys = [self.key(package, purpose, options.threads) for package in packages]
        known = [self._known(key) for key in keys]
        if paired and None in known:
            known = [None] * len(known)
        missing = [i for i, record in enumerate(known) if record is None]
        key_of = {packages[i].digest: keys[i] for i in missing}

        def keep(package: Package, record: Record) -> None:
            self._store.put(key_of[package.digest], record)
            self._fresh.add(str(key_of[package.digest]))

        fresh = self._recovery.measure(
            [packages[i] for i in missing],
            lambda group: self._take(group, anchors, options, on_progress, paired=paired),
            keep,
            paired=paired,
        )
        for i, record in zip(missing, fresh, strict=True):
            known[i] = record
        records = [record for record in known if record is not None]
        self.counts.taken += len(missing)
        self.counts.cached += len(packages) - len(missing)
        self.counts.failed += sum(record.state is not State.OK for record in records)
        return records

    def key(self, package: Package, purpose: str, threads: int) -> Key:
        """The key that a measurement of a package is filed under."""
        used = {segment["engine"] for segment in package.manifest["segments"]}
        return Key(
            board=self.info.fingerprint,
            engines={name: self.info.engines[name].version for name in used},
            threads=threads,
            package=package.digest,
            purpose=purpose,
        )

    def reference(self, on_progress: Callable[[str], None] | None = None) -> Reference:
        """The inputs, and the outputs onnxruntime gives for them on the board; asked for once."""
        if self._reference.outputs is None:
            outputs = self._recovery.persist(lambda: self._run_reference(on_progress))
            self._reference = dataclasses.replace(self._reference, outputs=outputs)
        return self._reference

    def _run_reference(self, on_progress: Callable[[str], None] | None = None) -> dict[str, Any]:
        package = self._build_reference()
        try:
            return self._board.run(package, self._reference.feeds, on_progress=on_progress)
        except RunError as error:
            engine = self.info.engines[package.manifest["segments"][0]["engine"]]
            raise ModelError(
                f"{package.manifest['model']['name']} does not run in {engine.name} "
                f"{engine.version}: {error.message}",
                hint="where it takes certain inputs only, give some: --input FILE.npz",
            ) from error

    def _known(self, key: Key) -> Record | None:
        if str(key) in self._fresh:
            return self._store.get(key)
        record = None if self._remeasure else self._store.get(key)
        return None if record is None or _is_outdated(record) else record

    def _take(
        self,
        packages: Sequence[Package],
        anchors: Sequence[Package],
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None,
        *,
        paired: bool,
    ) -> list[Record]:
        if not packages:
            return []
        parts, anchors = self._parts(packages, anchors, paired=paired)
        records: list[Record] = []
        for part in parts:
            lost = [record for record in records if record.state is State.BOARD_LOST]
            if lost:
                records += [lost[0]] * len(part)
                continue
            done = [p for p, r in zip(packages, records, strict=False) if r.state is State.OK]
            budget_s = options.budget_s * len(part) / len(packages)
            records += self._take_together(
                part,
                anchors if anchors or paired else done[:1],
                dataclasses.replace(options, budget_s=budget_s),
                on_progress,
                compared=bool(anchors),
            )
        return records

    def _parts(
        self, packages: Sequence[Package], anchors: Sequence[Package], *, paired: bool
    ) -> tuple[list[list[Package]], Sequence[Package]]:
        """The groups measured with one request each, in turn, and the anchors that go with each."""
        room = room_of(self.info)
        if paired:
            return [list(packages)], anchors
        if anchors:
            if room.capacity([*packages, *anchors]) <= len(anchors):
                anchors = anchors[-1:]
            return room.parts(packages, anchors), anchors
        if room.capacity(packages) < BORROWED:
            return [list(packages)], anchors
        return room.parts(packages, packages[:1]), anchors

    def _take_together(
        self,
        packages: Sequence[Package],
        anchors: Sequence[Package],
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None,
        *,
        compared: bool,
    ) -> list[Record]:
        start, taken_at_s = time.monotonic(), time.time()
        group = together(packages, anchors)
        shifts = [{group[i].digest for i in shift} for shift in room_of(self.info).shifts(group)]
        if len(shifts) > 1 and compared:
            options = dataclasses.replace(options, sittings=max(options.sittings, TURNS))
        records = self._board.measure(group, self.reference(on_progress), options, on_progress)
        if not self.counts.board_seconds:
            self.counts.waited_s += max(map(_cooled_s, records), default=0.0)
        self.counts.board_seconds += time.monotonic() - start
        self.notes += [note for note in notes(records) if note not in self.notes]
        by_digest = {
            package.digest: record
            for package, record in zip(group, records, strict=True)
            if record.state is State.OK
        }
        beside = {a.digest: by_digest[a.digest] for a in anchors if a.digest in by_digest}
        found = []
        for package, record in zip(packages, records, strict=False):
            shift = next(shift for shift in shifts if package.digest in shift)
            context: Context = {
                **record.context,
                "anchors_sittings_ms": {digest: r.sittings_ms for digest, r in beside.items()},
                "anchors_disturbed": {digest: r.disturbed for digest, r in beside.items()},
                "taken_at_s": taken_at_s,
            }
            if beside.keys() - shift:
                context["anchors_apart"] = sorted(beside.keys() - shift)
            found.append(dataclasses.replace(record, context=context))
        return found


def _cooled_s(record: Record) -> float:
    """The time that the board cooled before a measurement; 0 where it has no sensor."""
    return float(record.context.get("cooling", {}).get("waited_s", 0.0))


def _is_outdated(record: Record) -> bool:
    """Whether a measurement of another run is to be repeated, as its trouble may be over."""
    age_s = time.time() - record.context.get("taken_at_s", 0.0)
    noise_is_over = record.trust in (Trust.NOISY, Trust.DISTURBED) and age_s > NOISE_LASTS_S
    # What ended before any package was loaded says nothing of this one.
    nobodys = record.state in (State.CRASHED, State.TIMED_OUT) and record.step is Step.START
    return nobodys or noise_is_over or record.trust is Trust.THROTTLED


def drift(record: Record, known_ms: Mapping[str, float]) -> float:
    """The factor by which the machine is slower than when the anchors were first measured.

    Args:
        record: The record of a measurement beside anchors.
        known_ms: The first quiet latency of each anchor, by digest.

    Returns:
        A ratio to divide the record's times by; 1 when the record has no anchor.
    """
    ratios = [
        quiet_ms(undisturbed(*_anchor(record, digest))) / known_ms[digest]
        for digest in record.context.get("anchors_sittings_ms", {})
        if digest in known_ms
    ]
    return median(ratios) if ratios else 1.0


def runs_beside(record: Record, anchor: str) -> list[tuple[Sequence[float], Sequence[float]]]:
    """The runs of a record and of the anchor beside it, given by digest, for each sitting.

    Where one of two runs was disturbed there is NaN: see `qsdnn.latency.pairs`. For an anchor in a
    process of its own (`Context.anchors_apart`) there is one latency a sitting, of both.
    """
    beside = _anchor(record, anchor)
    if anchor in record.context.get("anchors_apart", []):
        sides = (undisturbed(record.sittings_ms, record.disturbed), undisturbed(*beside))
        sittings = zip(*sides, strict=False)
        return [
            ([quiet_ms([mine])], [quiet_ms([others])])
            for mine, others in sittings
            if np.isfinite(mine).any() and np.isfinite(others).any()
        ]
    found = pairs(record.sittings_ms, record.disturbed, *beside)
    return [(mine.tolist(), others.tolist()) for mine, others in found]


def _anchor(record: Record, digest: str) -> tuple[Sequence[Sequence[float]], Sequence[int]]:
    """The sittings of an anchor in ms, and the numbers of its disturbed runs."""
    sittings_ms = record.context.get("anchors_sittings_ms", {}).get(digest, [])
    return sittings_ms, record.context.get("anchors_disturbed", {}).get(digest, [])


def paired_ratio(a: Record, b: Record) -> tuple[float, float, float]:
    """The latency of a over that of b from interleaved runs: the median and its 95 % interval.

    The interval comes from order statistics, with no assumption about a distribution: of the ratios
    of neighbouring runs in one sitting; of the medians of the sittings where there are several.
    Fewer than six sittings have no such interval: their range is given.
    """
    parts = _ratios(a, b)
    return interval_of(_medians(parts) if len(parts) > 1 else parts[0].tolist())


def sitting_ratios(a: Record, b: Record) -> list[float]:
    """The latency of a over that of b in each sitting: the median of neighbouring runs' ratios."""
    return _medians(_ratios(a, b))


def interval_of(samples: Sequence[float]) -> tuple[float, float, float]:
    """The median of independent samples and its 95 % interval; their range where they are few."""
    low, high = median_interval(samples)
    return float(np.median(samples)), float(low), float(high)


def _medians(parts: Sequence[NDArray[np.float64]]) -> list[float]:
    return [float(np.median(part)) for part in parts]


def _ratios(a: Record, b: Record) -> list[NDArray[np.float64]]:
    """The ratios of neighbouring runs, by sitting, without sittings that have none."""
    ratios = [
        mine / others
        for mine, others in pairs(a.sittings_ms, a.disturbed, b.sittings_ms, b.disturbed)
    ]
    finite = [part[np.isfinite(part)] for part in ratios]
    return [part for part in finite if len(part)]
