"""Comparison: plans, packages and models side by side, in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qsdnn.board import SITTINGS, Board, MeasureOptions, Record, Reference, State, check_threads
from qsdnn.errors import BoardLostError, InputError, QsdnnError
from qsdnn.listener import Listener
from qsdnn.measure.paired import paired_ratio
from qsdnn.measure.recovery import measure_together
from qsdnn.measure.trust import doubt, notes
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.subject import Subject, open_subject

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The measurement of one subject of a comparison.

    Attributes:
        name: The subject as the user wrote it.
        measured_ms: The median latency.
        ci95_ms: The 95 % interval of the median.
        p90_ms: The latency that 90 % of the runs do not exceed.
        p99_ms: The latency that 99 % of the runs do not exceed.
        per_s: The number of inferences a second at the median latency.
        ratio: The latency over that of the first subject, from neighbouring runs.
        ratio_ci95: The 95 % interval of the ratio.
        runs: The number of counted runs.
        trust: The trust in the latency: ``stable``, ``noisy``, ``disturbed`` or ``throttled``.
        doubt: The reason why the latency may not be believed, and what to do; empty when it is
            stable.
    """

    name: str
    measured_ms: float
    ci95_ms: tuple[float, float]
    p90_ms: float
    p99_ms: float
    per_s: float
    ratio: float
    ratio_ci95: tuple[float, float]
    runs: int
    trust: str
    doubt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        rows: The rows, one for each subject, in the order the subjects were given.
    """

    rows: tuple[Compared, ...] = field(default_factory=tuple)

    def table(self) -> pd.DataFrame:
        """The table of a row for each subject; the columns are the attributes of `Compared`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def _repr_html_(self) -> str:
        return str(self.table().drop(columns="doubt").to_html(index=False))


def compare_on(
    board: Board,
    subjects: Sequence[Path],
    *,
    listener: Listener,
    model: Path | None = None,
    threads: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    budget_s: float = 10.0,
    min_runs: int = 20,
) -> Comparison:
    """Measures subjects side by side in several processes, in turns.

    Args:
        board: The board, already started.
        subjects: The plans, packages, and models with or without ``@ENGINE``: see `open_subject`.
        listener: The listener that is told of progress.
        model: The network of the plans; None takes the file that the plans name.
        threads: The number of threads that an engine may use; None takes that of the first plan or
            package, else 1.
        shapes: The dimensions of a model's dynamic inputs, by input name.
        budget_s: The measuring time, in seconds.
        min_runs: The number of runs of each subject at the least.

    Raises:
        InputError: A subject is none of these, cannot run on the board, or takes other inputs than
            the first.
        BoardError: The board was lost and does not come back.
    """
    with tempfile.TemporaryDirectory(prefix="qsdnn-") as scratch:
        listener.phase("Building", len(subjects))
        info = board.probe()
        check_threads(info, threads or 1)
        opened = []
        for path in subjects:
            folder = Path(tempfile.mkdtemp(dir=scratch))
            opened.append(
                open_subject(path, model, info, folder, shapes=shapes, threads=threads or 1)
            )
            listener.step()
        _check_comparable(opened)
        threads = threads or _threads(opened)
        check_threads(info, threads)
        listener.phase("Measuring", 0)
        records = measure_together(
            board,
            [subject.package for subject in opened],
            Reference(feeds=random_feeds(opened[0].tensors)),
            MeasureOptions(
                threads=threads,
                min_runs=min_runs,
                max_runs=2000,
                precision=0.0,
                budget_s=budget_s,
                again=2,
                sittings=SITTINGS,
            ),
            on_note=listener.note,
            on_progress=listener.status,
        )
        for note in notes(records):
            listener.note(note)
    rows = (_row(s, r, records[0]) for s, r in zip(opened, records, strict=True))
    return Comparison(rows=tuple(rows))


def document(comparison: Comparison) -> dict[str, object]:
    """The JSON document of a comparison, schema ``qsdnn.bench/1``."""
    return {"schema": "qsdnn.bench/1", "subjects": [asdict(row) for row in comparison.rows]}


def _threads(opened: Sequence[Subject]) -> int:
    """The threads that the first plan or package was made for; a bare model was made for none."""
    return next((s.threads for s in opened if not s.package.manifest.get("bare")), 1)


def _check_comparable(opened: Sequence[Subject]) -> None:
    first = opened[0]
    for other in opened[1:]:
        if dict(other.tensors) != dict(first.tensors):
            raise InputError(f"{other.name} takes other inputs than {first.name}")


def _row(subject: Subject, record: Record, first: Record) -> Compared:
    if record.state is State.BOARD_LOST:
        raise BoardLostError(f"the board was lost: {record.error}")
    if record.state is State.UNSUPPORTED:
        raise InputError(f"{subject.name} cannot be run: {record.error}", hint="leave it out")
    if record.state is not State.OK:
        raise QsdnnError(f"{subject.name} ended as {record.state}: {record.error}")
    ratio, low, high = paired_ratio(record, first)
    p90_ms, p99_ms = np.percentile(record.runs_ms, (90, 99)).tolist()
    return Compared(
        name=subject.name,
        measured_ms=record.latency_ms,
        ci95_ms=record.ci95_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        per_s=1e3 / record.latency_ms,
        ratio=ratio,
        ratio_ci95=(low, high),
        runs=len(record.runs_ms),
        trust=record.trust.value,
        doubt=doubt(record),
    )
