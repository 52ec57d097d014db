"""Measuring for a search.

All measuring goes through the store, so that nothing is measured twice, and beside anchors, so that
a machine whose speed drifts does not decide.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from qsdnn.measure.batches import room_of, together
from qsdnn.measure.recovery import Recovery
from qsdnn.measure.trust import notes
from qsdnn.store import Key, Store

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
    def spent_s(self) -> Mapping[str, float]:
        """The time in seconds that the board spent in each step: see `Board.spent_s`."""
        return self._board.spent_s

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
            purpose=f"{purpose}, {'cold' if self._board.care.cold else 'warm'}",
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
