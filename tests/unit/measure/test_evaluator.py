"""Evaluation of real packages on the local board."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from qsdnn import examples
from qsdnn.accuracy.data import read_inputs
from qsdnn.accuracy.function import load_function
from qsdnn.accuracy.inputs import Inputs, halves
from qsdnn.accuracy.loss import Loss
from qsdnn.accuracy.metric import DB_LIMIT, Metric
from qsdnn.board import Package, State
from qsdnn.engine import load_engines
from qsdnn.errors import BoardError, InputError
from qsdnn.examples.data import held_out
from qsdnn.measure.evaluator import Evaluator
from qsdnn.model import load_graph
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn.space import space_of
from qsdnn.store import Store
from qsdnn_boards.local import LocalBoard
from tests.unit.boards.conftest import LOADERS, write_package

SAMPLES = 40


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBoard]:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    with LocalBoard() as board:
        yield board


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "store.db")) as store:
        yield store


class Digits:
    """The network, some of its data, and packages of it."""

    def __init__(self, folder: Path) -> None:
        onnx.save(examples.build("digits"), folder / "digits.onnx")
        np.savez(folder / "digits.npz", **{k: v[:SAMPLES] for k, v in held_out("digits").items()})
        self.graph = load_graph(folder / "digits.onnx", workdir=folder)
        self.inputs = read_inputs(folder / "digits.npz", self.graph)
        self.engines = load_engines(["onnxruntime", "blas"])
        self.builder = Builder(self.graph, self.engines, folder)

    def wanted(self) -> np.ndarray:
        """What onnxruntime gives in this process, (samples, classes)."""
        session = onnxruntime.InferenceSession(self.graph.path)
        rows = self.inputs.arrays["input"][:, None]
        return np.concatenate([session.run(None, {"input": row})[0] for row in rows])


@pytest.fixture
def digits(tmp_path: Path) -> Digits:
    (tmp_path / "digits").mkdir()
    return Digits(tmp_path / "digits")


def test_outputs_are_those_of_onnxruntime_in_this_process(board: LocalBoard, digits: Digits):
    heard: list[str] = []
    runs = digits.inputs.runs()
    (found,) = board.evaluate([digits.builder.reference()], runs, on_progress=heard.append)
    assert found.state is State.OK and set(found.outputs) == {"scores"}
    assert found.outputs["scores"].shape == (SAMPLES, 1, 10)
    scores = digits.inputs.unbatched(found.outputs)["scores"]
    np.testing.assert_allclose(scores, digits.wanted(), rtol=1e-5, atol=1e-5)
    assert "evaluating 1 of 1" in heard


def test_a_mixed_plan_is_scored_once(board: LocalBoard, store: Store, digits: Digits):
    info = board.probe()
    space = space_of(digits.graph, digits.engines, info.engines, (Precision.FP32,))
    fast = {p.engine: i for i, p in reversed(list(enumerate(space.primitives)))}
    rows = [fast["blas"] if i % 4 == 1 else fast["onnxruntime"] for i in range(len(space.layers))]
    choice = [
        space.primitives[want if mask[want] else int(np.flatnonzero(mask)[0])]
        for want, mask in zip(rows, space.mask, strict=True)
    ]
    package = digits.builder.build(choice)
    assert len(package.manifest["segments"]) > 1
    evaluator = Evaluator(board, store, digits.builder.reference, digits.inputs)
    assessment, again = evaluator.evaluate([package, package])
    loss = assessment.loss
    assert assessment.state is State.OK and again == assessment and loss is not None
    right = digits.wanted().argmax(1) == digits.inputs.labels
    assert loss.metric == "top1" and loss.samples == SAMPLES
    assert loss.reference == loss.plan == right.mean() and loss.drop == 0.0
    assert 80 < loss.sqnr_db < 200
    assert evaluator.taken == 1
    later = Evaluator(board, store, digits.builder.reference, digits.inputs)
    assert later.evaluate([package]) == [assessment] and later.taken == 0
    other, _ = halves(digits.inputs)
    elsewhere = Evaluator(board, store, digits.builder.reference, other)
    assert elsewhere.evaluate([package])[0].state is State.OK and elsewhere.taken == 1


def test_a_package_made_to_be_bare_gives_the_same(board: LocalBoard, digits: Digits):
    packages = [digits.builder.reference(), digits.builder.bare("onnxruntime")]
    reference, bare = board.evaluate(packages, digits.inputs.runs())
    np.testing.assert_array_equal(reference.outputs["scores"], bare.outputs["scores"])


def test_without_labels_it_is_held_against_fp32(board: LocalBoard, store: Store, digits: Digits):
    bare = dataclasses.replace(digits.inputs, labels=None)
    evaluator = Evaluator(board, store, digits.builder.reference, bare)
    (assessment,) = evaluator.evaluate([digits.builder.reference()])
    loss = assessment.loss
    assert loss is not None and loss.metric == "agreement"
    assert (loss.reference, loss.plan, loss.sqnr_db) == (1.0, 1.0, DB_LIMIT)


class Doubling:
    """Packages of an engine that exists only in tests: fp32 doubles its input."""

    def __init__(self, folder: Path, store: Store, **data: Any) -> None:
        self.folder, self.store = folder, store
        rows = np.random.default_rng(0).standard_normal((10, 2, 3)).astype(np.float32)
        rows[np.arange(10), 0, np.arange(10) % 3] = 5.0  # the greatest of the first row
        self.inputs = Inputs(arrays={"x": rows}, batch=0, source="x.npz", **data)

    def package(self, name: str, **options: Any) -> Package:
        folder = self.folder / str(len(list(self.folder.glob("*"))))  # fp32 is built again
        return write_package(folder, name, options)

    def evaluator(self, board: Any, metric: Metric | None = None, **options: Any) -> Evaluator:
        return Evaluator(
            board, self.store, lambda: self.package("fp32", **options), self.inputs, metric
        )


@pytest.fixture
def odd_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBoard]:
    monkeypatch.setenv("QSDNN_BOARD_CACHE", str(tmp_path / "cache"))
    with LocalBoard(python_path=[LOADERS]) as board:
        real = board.probe()
        engines = {**real.engines, "onnxruntime": real.engines["fake"]}
        monkeypatch.setattr(board, "probe", lambda: dataclasses.replace(real, engines=engines))
        yield board


BY_ROW = """
def first_row(outputs, labels):
    return (outputs["y"][:, 0].argmax(1) == labels).mean()
"""


@pytest.fixture
def metric(tmp_path: Path) -> Metric:
    (tmp_path / "by_row.py").write_text(BY_ROW)
    return load_function("by_row:first_row", tmp_path)


def test_scores_noise_and_failures_of_each_package(
    odd_board: LocalBoard, tmp_path: Path, store: Store, metric: Metric
):
    labels = np.arange(10) % 3
    labels[:2] = 2  # which no plan gets right
    doubling = Doubling(tmp_path / "packages", store, labels=labels)
    packages = [
        doubling.package("same"),
        doubling.package("a little more", factor=2.02),
        doubling.package("upside down", factor=-2.0),
        doubling.package("nothing", factor=float("nan")),
        doubling.package("dies", good_runs=3, then={"kind": "kill"}),
    ]
    evaluator = doubling.evaluator(odd_board, metric)
    same, more, down, nothing, dies = evaluator.evaluate(packages)
    assert same.loss == Loss(
        metric="by_row:first_row", reference=0.8, plan=0.8, drop=0.0, sqnr_db=DB_LIMIT, samples=10
    )
    assert more.loss is not None and more.loss.plan == 0.8
    assert more.loss.sqnr_db == pytest.approx(40.0, abs=1e-3)  # 2 / 0.02 in amplitude
    assert down.loss is not None and down.loss.plan < 0.3
    assert down.loss.drop == pytest.approx(0.8 - down.loss.plan)
    assert nothing.loss is not None and nothing.loss.sqnr_db == -DB_LIMIT
    assert dies.state is State.CRASHED and "SIGKILL" in dies.error and dies.loss is None
    assert evaluator.taken == 5
    again = doubling.evaluator(odd_board, metric)
    assert again.evaluate(packages)[:4] == [same, more, down, nothing]
    assert again.taken == 1, "what failed is tried again"


def test_a_lower_metric_drops_when_it_rises(odd_board: LocalBoard, tmp_path: Path, store: Store):
    doubling = Doubling(tmp_path / "packages", store)
    truth = 2 * doubling.inputs.arrays["x"]
    doubling.inputs = dataclasses.replace(doubling.inputs, labels=truth)
    (assessment,) = doubling.evaluator(odd_board).evaluate([doubling.package("more", factor=3.0)])
    loss = assessment.loss
    assert loss is not None and loss.metric == "mse" and loss.reference == 0.0
    assert loss.drop == loss.plan == pytest.approx(float(np.mean((truth / 2) ** 2)))


def test_outputs_that_cannot_be_scored_are_wrong_and_fp32_must_be_scored(
    odd_board: LocalBoard, tmp_path: Path, store: Store
):
    text = "def strict(outputs, labels):\n    assert outputs['y'][0, 0, 0] > 9\n    return 1\n"
    (tmp_path / "strict_one.py").write_text(text)
    strict = load_function("strict_one:strict", tmp_path)
    doubling = Doubling(tmp_path / "packages", store)
    evaluator = doubling.evaluator(odd_board, strict)
    less, fine = evaluator.evaluate([doubling.package("less", factor=1.0), doubling.package("a")])
    assert less.state is State.WRONG_OUTPUT and "strict_one:strict raised Assertion" in less.error
    assert fine.state is State.OK
    with pytest.raises(InputError, match="strict_one:strict raised AssertionError"):
        doubling.evaluator(odd_board, strict, factor=1.0).reference()


def test_a_reference_that_does_not_run_is_an_error_of_the_board(
    odd_board: LocalBoard, tmp_path: Path, store: Store
):
    doubling = Doubling(tmp_path / "packages", store)
    broken = doubling.evaluator(odd_board, load={"kind": "refuse"})
    with pytest.raises(BoardError, match=r"evaluate the network in onnxruntime: .* no kernel"):
        broken.evaluate([doubling.package("a")])


def test_a_lost_board_leaves_what_is_stored(odd_board: LocalBoard, tmp_path: Path, store: Store):
    doubling = Doubling(tmp_path / "packages", store)
    deadly = doubling.package("deadly", good_runs=3, then={"kind": "kill_agent"})
    packages = [doubling.package("early"), deadly]
    evaluator = doubling.evaluator(odd_board)
    early, lost = evaluator.evaluate(packages)
    assert early.state is State.OK and lost.state is State.BOARD_LOST
    assert "was lost" in lost.error
    later = doubling.evaluator(odd_board)
    assert later.evaluate(packages[:1]) == [early] and later.taken == 0
