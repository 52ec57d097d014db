"""The evaluation of packages on a board, over a user's samples, against fp32."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qsdnn.accuracy.inputs import Inputs
from qsdnn.accuracy.loss import Loss
from qsdnn.accuracy.metric import DB_LIMIT, Metric, answers, sqnr_db, usual_metric
from qsdnn.board import Board, Evaluation, Package, State
from qsdnn.errors import BoardError, BoardLostError, InputError
from qsdnn.measure.recovery import Recovery
from qsdnn.store import Key, Store

Outputs = Mapping[str, NDArray[Any]]
Tell = Callable[[str], None]

GROUP = 8
"""The number of packages that are evaluated at once: an interruption loses no more."""
REFERENCE_ENGINE = "onnxruntime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The outcome of evaluating a package.

    Attributes:
        state: The way that evaluating ended; `State.WRONG_OUTPUT` when the outputs cannot be
            scored.
        error: The message for people, when evaluating did not end well.
        loss: The loss of the package; None when evaluating did not end well.
    """

    state: State
    error: str = ""
    loss: Loss | None = None


class Evaluator:
    """A scorer of packages of one network; what was scored before comes from the store.

    Args:
        board: The board, already started.
        store: The store that keeps the losses.
        build_reference: A function that builds the network as the user gave it, for onnxruntime.
        inputs: The samples that decide.
        metric: The user's metric; None takes what is usual for these samples.
        threads: The number of threads that an engine may use.
        on_note: Called at once with what becomes of a board that was lost.

    Attributes:
        taken: The number of packages that were evaluated, not found in the store.
    """

    def __init__(
        self,
        board: Board,
        store: Store,
        build_reference: Callable[[], Package],
        inputs: Inputs,
        metric: Metric | None = None,
        threads: int = 1,
        on_note: Tell = lambda note: None,
    ) -> None:
        self.inputs = inputs
        self.taken = 0
        self._board = board
        self._store = store
        self._build_reference = build_reference
        self._metric = metric
        self._threads = threads
        self._purpose = f"accuracy {inputs.digest} {metric.key if metric else 'usual'}"
        self._reference: _Reference | None = None
        self._recovery = Recovery(self._run_one, on_note)

    def evaluate(
        self, packages: Sequence[Package], on_progress: Tell | None = None
    ) -> list[Assessment]:
        """Evaluates packages; returns one assessment each, in their order.

        A board that is lost meanwhile is waited for: see `Recovery`. Every loss is stored.

        Raises:
            InputError: The metric cannot score these samples, not even in fp32.
            BoardError: The reference cannot be evaluated, or the board refuses to evaluate, or was
                lost and does not come back.
        """
        found: dict[str, Assessment] = {}
        for package in packages:
            loss = self._store.get_loss(self._key(package))
            if loss is not None:
                found[package.digest] = Assessment(state=State.OK, loss=loss)
        missing = {p.digest: p for p in packages if p.digest not in found}
        todo = list(missing.values())
        for start in range(0, len(todo), GROUP):
            found |= self._take(todo[start : start + GROUP], on_progress)
        return [found[package.digest] for package in packages]

    def reference(self, on_progress: Tell | None = None) -> Outputs:
        """The outputs (samples, …) of onnxruntime in fp32 on the board; asked for once.

        Raises:
            InputError: The metric cannot score the outputs.
            BoardError: The board does not give the outputs.
        """
        return self._fp32(on_progress).outputs

    def loss_of_fp32(self, on_progress: Tell | None = None) -> Loss:
        """The loss of the reference, without a drop by definition.

        Raises:
            InputError: The metric cannot score the reference.
            BoardError: The board does not give the reference's outputs.
        """
        reference = self._fp32(on_progress)
        return Loss(
            metric=reference.metric.name,
            reference=reference.score,
            plan=reference.score,
            drop=0.0,
            sqnr_db=DB_LIMIT,
            samples=self.inputs.samples,
        )

    def _take(self, packages: Sequence[Package], on_progress: Tell | None) -> dict[str, Assessment]:
        reference = self._fp32(on_progress)
        assessments: dict[str, Assessment] = {}

        def keep(package: Package, evaluation: Evaluation) -> None:
            assessment = self._judge(evaluation, reference)
            assessments[package.digest] = assessment
            if assessment.loss is not None:
                self._store.put_loss(self._key(package), assessment.loss)

        self._recovery.measure(
            packages, lambda group: self._run(group, on_progress), keep, paired=False
        )
        self.taken += len(packages)
        return assessments

    def _run(self, packages: Sequence[Package], on_progress: Tell | None) -> list[Evaluation]:
        found = self._board.evaluate(
            packages, self.inputs.runs(), threads=self._threads, on_progress=on_progress
        )
        return [dataclasses.replace(e, outputs=self.inputs.unbatched(e.outputs)) for e in found]

    def _run_one(self) -> object:
        """Runs the network as the user gave it, on the first inputs."""
        feeds = {name: runs[0] for name, runs in self.inputs.runs().items()}
        return self._board.run(self._build_reference(), feeds, threads=self._threads)

    def _judge(self, evaluation: Evaluation, reference: _Reference) -> Assessment:
        if evaluation.state is not State.OK:
            return Assessment(state=evaluation.state, error=evaluation.error)
        metric, outputs = reference.metric, evaluation.outputs
        try:
            score = metric.score(outputs, reference.labels)
        except InputError as error:  # fp32 could be scored
            return Assessment(state=State.WRONG_OUTPUT, error=error.message)
        worse = reference.score - score if metric.higher_is_better else score - reference.score
        loss = Loss(
            metric=metric.name,
            reference=reference.score,
            plan=score,
            drop=worse,
            sqnr_db=sqnr_db(outputs, reference.outputs),
            samples=self.inputs.samples,
        )
        return Assessment(state=State.OK, loss=loss)

    def _fp32(self, on_progress: Tell | None) -> _Reference:
        if self._reference is None:
            (evaluation,) = self._recovery.measure(
                [self._build_reference()],
                lambda group: self._run(group, on_progress),
                lambda package, evaluation: None,
                paired=False,
            )
            if evaluation.state is State.BOARD_LOST:
                raise BoardLostError(evaluation.error)
            if evaluation.state is not State.OK:
                raise BoardError(
                    f"board '{self._board.name}' cannot evaluate the network in "
                    f"{REFERENCE_ENGINE}: {evaluation.error}"
                )
            outputs = evaluation.outputs
            metric = self._metric or usual_metric(self.inputs.labels, outputs)
            labels = answers(metric, self.inputs.labels, outputs)
            score = metric.score(outputs, labels)
            self._reference = _Reference(outputs, metric, labels, score)
        return self._reference

    def _key(self, package: Package) -> Key:
        info = self._board.probe()
        used = {segment["engine"] for segment in package.manifest["segments"]}
        return Key(
            board=info.fingerprint,
            engines={name: info.engines[name].version for name in used | {REFERENCE_ENGINE}},
            threads=self._threads,
            package=package.digest,
            purpose=self._purpose,
        )


@dataclass(frozen=True, slots=True)
class _Reference:
    outputs: Outputs
    metric: Metric
    labels: NDArray[Any] | None
    score: float
