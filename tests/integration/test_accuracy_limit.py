"""``qsdnn search`` under a limit of accuracy, on a trained network; and what can be wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from qsdnn.cli import main
from qsdnn.plan import read_plan

SEARCH = ("search", "digits.onnx", "--engines", "onnxruntime", "--store", "s.db")


@pytest.fixture
def qsdnn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    assert run("example", "digits", "-o", "digits.onnx", "--data", "digits.npz")[0] == 0
    return run


def test_a_plan_keeps_its_limit_and_replays(qsdnn):
    words = ("--calibration", "digits.npz", "--min-sqnr", "38", "--budget", "15s", "--json")
    code, out, err = qsdnn(*SEARCH, *words)
    assert code == 0, err
    found = json.loads(out)
    assert found["verified"] and found["accuracy"]["sqnr_db"] >= 38
    assert found["accuracy"]["metric"] == "top1" and found["accuracy"]["samples"] > 100
    feasible = {row["name"]: row["feasible"] for row in found["baselines"]}
    assert feasible["onnxruntime/nchwc/fp32"] and not feasible["onnxruntime/int8/int8"]
    plan = read_plan(Path("plan.json"))
    used = [choice.primitive for choice in plan.layers]
    assert (plan.calibration is not None) == ("onnxruntime/int8/int8" in used)
    code, out, err = qsdnn("replay", "plan.json", "--json")
    assert code == 0, err
    ran = {row["layer"]: row["primitive"] for row in json.loads(out)["applied"]}
    assert all(ran[c.name] == c.primitive for c in plan.layers if "int8" in c.primitive)


def test_an_evaluator_that_raises_is_told_before_anything_is_measured(qsdnn, tmp_path):
    (tmp_path / "mine.py").write_text("def score(outputs, labels):\n    return outputs['no']\n")
    words = ["--calibration", "digits.npz", "--evaluator", "mine:score", "--max-drop", "0.01"]
    code, _, err = qsdnn(*SEARCH, *words)
    assert code == 2 and "mine:score raised KeyError" in err
    assert "Racing" not in err and "Traceback" not in err


def test_an_impossible_limit_names_the_nearest_plan(qsdnn):
    code, _, err = qsdnn(*SEARCH, "--calibration", "digits.npz", "--min-sqnr", "190")
    assert code == 4
    assert "nearest is onnxruntime/" in err and "190 dB is asked" in err and "--min-sqnr" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-drop", "1%"], "--calibration"),
        (["--calibration", "digits.npz"], "--max-drop"),
        (["--precision", "int8"], "--calibration"),
        (["--calibration", "digits.npz", "--max-drop", "lots"], "no number"),
        (["--calibration", "nan.npz", "--min-sqnr", "30"], "nan"),
        (["--calibration", "short.npz", "--min-sqnr", "30"], "expected shape"),
        (["--calibration", "empty", "--min-sqnr", "30"], "it is empty"),
        (["--calibration", "digits.npz", "--labels", "few.npy", "--max-drop", "1%"], "3 labels"),
        (["--calibration", "digits.npz", "--metric", "top2", "--max-drop", "1%"], "top1"),
        (["--calibration", "digits.npz", "--evaluator", "no:thing", "--max-drop", "1"], "no.py"),
        (["--calibration", "digits.npz", "--min-sqnr", "3", "--calibration-method", "x"], "minmax"),
    ],
)  # fmt: skip
def test_what_can_be_wrong(qsdnn, tmp_path, words, said):
    whole = dict(np.load("digits.npz"))
    name = next(n for n in whole if n != "labels")
    broken = whole[name].copy()
    broken[3, 0, 2, 2] = np.nan
    np.savez("nan.npz", **{name: broken})
    np.savez("short.npz", **{name: whole[name][:, :, :5]})
    np.save("few.npy", np.arange(3))
    (tmp_path / "empty").mkdir()
    code, _, err = qsdnn(*SEARCH, *words)
    assert code == 2 and said in err and "Traceback" not in err
