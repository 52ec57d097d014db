"""``qsdnn quantize``: what layers lose alone adds up to what they lose together."""

import csv
import json

import pytest

from qsdnn.cli import main


def qsdnn(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


@pytest.fixture
def at_home(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert qsdnn(capsys, "example", "digits", "-o", "digits.onnx", "--data", "digits.npz")[0] == 0


def test_layers_alone_and_together(at_home, capsys):
    words = ["quantize", "digits.onnx", "--analyze", "--calibration", "digits.npz", "--json"]
    words += ["--engines", "onnxruntime", "--store", "s.db", "-o", "layers.csv"]
    code, out, err = qsdnn(capsys, *words)
    assert code == 0, err
    found = json.loads(out)
    alone, groups = found["layers"], found["groups"]
    assert len(alone) >= 10 and {row["primitive"] for row in alone} == {"onnxruntime/int8/int8"}
    assert all(25 < row["sqnr_db"] < 80 for row in alone)
    with open("layers.csv", newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == [row["layer"] for row in alone]
    assert [group["layers"] for group in groups] == sorted(group["layers"] for group in groups)
    assert groups[-1]["layers"] == len(alone)
    for group in groups:
        assert group["accuracy"]["sqnr_db"] == pytest.approx(group["predicted_db"], abs=4.0)
    again = json.loads(qsdnn(capsys, *words)[1])
    assert again == found  # everything comes from the store


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calibration", "digits.npz"], "--analyze"),
        (["--analyze"], "--calibration"),
        (["--analyze", "--calibration", "digits.npz", "--engines", "blas"], "onnxruntime,openvino"),
    ],
)
def test_what_can_be_missing(at_home, capsys, words, said):
    code, _, err = qsdnn(capsys, "quantize", "digits.onnx", *words, "--store", "s.db")
    assert code == 2 and said in err and "Traceback" not in err
