"""`import qsdnn`, as a program and a notebook use it: search, look, save, replay, compare."""

from __future__ import annotations

from pathlib import Path

import pytest

import qsdnn
from qsdnn import examples
from qsdnn.errors import InputError


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import onnx

    monkeypatch.chdir(tmp_path)
    onnx.save(examples.build("tiny-cnn"), tmp_path / "tiny-cnn.onnx")
    return tmp_path / "tiny-cnn.onnx"


COLUMNS = ["layer", "kind", "primitive", "kernel", "predicted_ms", "measured_ms", "share"]


@pytest.mark.slow
def test_search_look_save_replay_and_compare(model: Path) -> None:
    with qsdnn.open_board("local") as board:
        result = qsdnn.search(
            model, board=board, engines=["onnxruntime", "blas"], budget_s=10, store="s.db"
        )
        table, final = result.table(), result.final()
        assert list(table.columns) == COLUMNS
        assert list(table["layer"]) == [choice.name for choice in result.plan.layers]
        assert list(table["primitive"]) == [choice.primitive for choice in result.plan.layers]
        assert table["share"].sum() == pytest.approx(1)
        assert (table["measured_ms"] > 0).all() and (table["predicted_ms"] > 0).all()
        assert final["winner"].sum() == 1
        assert final.set_index("name").loc["onnxruntime as it comes", "kind"] == "bare"
        assert result.document["schema"] == "qsdnn.search/1" and result.speedup > 0
        shown = result._repr_html_()
        assert "tiny-cnn.onnx" in shown and "as it comes" in shown and table["layer"][0] in shown
        plan = qsdnn.load_plan(result.save("plan.json"))
        assert plan == result.plan
        replayed = qsdnn.replay("plan.json", board=board)
        assert replayed.plan == plan and replayed.measured_ms > 0 and replayed.max_error < 1e-4
        compared = qsdnn.compare("plan.json", f"{model}@onnxruntime", board=board, budget_s=1)
        assert list(compared.table()["name"]) == ["plan.json", f"{model}@onnxruntime"]
        assert compared.rows[0].ratio == 1 and "onnxruntime" in compared._repr_html_()
    cost = qsdnn.read_cost(result.save_cost_model("cost.npz"))
    assert cost.space.layers == tuple(table["layer"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max_drop": "1%"}, "give calibration"),
        ({"precisions": ["int8"]}, "give calibration"),
        ({"calibration": "x.npz"}, "give max_drop"),
        ({"agent": "q-lerning"}, "did you mean 'q-learning'"),
        ({"board": "lokal"}, "did you mean 'local'"),
    ],
)
def test_what_can_be_wrong(model: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        qsdnn.search(model, store="s.db", **asked)  # type: ignore[arg-type]
    assert said in f"{caught.value.message}\n{caught.value.hint}"


def test_a_model_that_is_not_there_is_an_error_of_qsdnn() -> None:
    with pytest.raises(qsdnn.QsdnnError, match=r"no\.onnx"):
        qsdnn.search("no.onnx", store=":memory:")
