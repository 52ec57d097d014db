"""``qsdnn quantize``: what layers lose alone adds up to what they lose together."""

import csv
import json
import math

import numpy as np
import pytest

from qsdnn.cli import main
from tests.conformance.processor import saturates


def qsdnn(capsys, *words):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


@pytest.fixture
def at_home(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert qsdnn(capsys, "example", "digits", "-o", "digits.onnx", "--data", "all.npz")[0] == 0
    with np.load("all.npz") as samples:
        np.savez("digits.npz", **{name: array[:160] for name, array in samples.items()})


def noise(sqnr_db):
    return 10 ** (-sqnr_db / 10)


@pytest.mark.skipif(saturates(), reason="int8 loses more here than what is simulated of it tells")
def test_layers_alone_and_together(at_home, capsys):
    words = ["quantize", "digits.onnx", "--analyze", "--calibration", "digits.npz", "--json"]
    words += ["--engines", "onnxruntime", "--store", "s.db", "-o", "layers.csv"]
    code, out, err = qsdnn(capsys, *words)
    assert code == 0, err
    found = json.loads(out)
    alone, groups = found["layers"], found["groups"]
    assert len(alone) >= 10 and {row["primitive"] for row in alone} == {"onnxruntime/int8/int8"}
    assert all(25 < row["sqnr_db"] < 80 for row in alone)
    assert all(abs(row["drop"]) < 0.03 for row in alone) and found["metric"] == "top1"
    for row in alone:  # what the parts lose adds up to what the layer loses
        parts = [row[f"{part}_sqnr_db"] for part in ("weights", "activations")]
        assert parts[1] is not None
        whole = sum(noise(part) for part in parts if part is not None)
        assert row["sqnr_db"] == pytest.approx(-10 * math.log10(whole), abs=1.5)
    products = [row for row in alone if row["weights_sqnr_db"] is not None]
    assert {row["kind"] for row in products} >= {"conv", "gemm"}
    with open("layers.csv", newline="") as file:
        assert [row["layer"] for row in csv.DictReader(file)] == [row["layer"] for row in alone]
    assert [group["layers"] for group in groups] == sorted(group["layers"] for group in groups)
    assert groups[-1]["layers"] == len(alone)
    with open("layers.groups.csv", newline="") as file:
        assert [int(row["layers"]) for row in csv.DictReader(file)] == [
            group["layers"] for group in groups
        ]
    assert "layers.csv" in found["files"]
    for group in groups:
        assert group["accuracy"]["sqnr_db"] == pytest.approx(group["predicted_db"], abs=4.0)
    again = json.loads(qsdnn(capsys, *words)[1])
    assert again == found  # everything comes from the store


@pytest.mark.slow
def test_a_study_tells_what_each_width_loses_and_saves(at_home, capsys):
    words = ["quantize", "digits.onnx", "--calibration", "digits.npz", "--json", "--store", "s.db"]
    code, out, err = qsdnn(capsys, *words, "--study", "fixed-point", "--bits", "4,8", "-o", "f.csv")
    assert code == 0, err
    found = json.loads(out)
    by = {(row["layer"], row["part"], row["bits"]): row for row in found["layers"]}
    assert {row["part"] for row in found["layers"]} == {"weights", "activations", "both"}
    for (layer, part, bits), row in by.items():
        assert row["form"]
        if bits == 8:  # about 6 dB a bit
            assert row["sqnr_db"] - by[layer, part, 4]["sqnr_db"] == pytest.approx(24, abs=9)
        if part == "weights":
            assert row["saved_bytes"] == pytest.approx(row["size_bytes"] * (32 / bits - 1), abs=8)
    together = {(row["part"], row["bits"]): row for row in found["together"]}
    assert together["both", 8]["drop"] < 0.05 < together["both", 4]["drop"]
    with open("f.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["layers"]) + len(found["together"])
    assert [row["layer"] for row in rows[: len(together)]] == ["all"] * len(together)

    code, out, err = qsdnn(capsys, *words, "--study", "codebook", "--bits", "6,3")
    assert code == 0, err
    wide, narrow = json.loads(out)["together"]
    assert (wide["bits"], narrow["bits"]) == (6, 3)
    assert wide["sqnr_db"] > narrow["sqnr_db"] + 9 and wide["saved_bytes"] < narrow["saved_bytes"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calibration", "digits.npz"], "--analyze"),
        (["--analyze"], "--calibration"),
        (["--study", "codebook"], "--calibration"),
        (["--study", "codebok", "--calibration", "digits.npz"], "'codebook'"),
        (["--study", "codebook", "--bits", "0", "--calibration", "digits.npz"], "from 1 to 16"),
        (["--study", "codebook", "--bits", "8,x", "--calibration", "digits.npz"], "--bits 8,x"),
        (["--analyze", "--bits", "8", "--calibration", "digits.npz"], "add --study"),
        (["--study", "codebook", "--engines", "ncnn", "--calibration", "digits.npz"], "simulated"),
        (["--analyze", "--calibration", "digits.npz", "--engines", "blas"], "onnxruntime,openvino"),
    ],
)
def test_what_can_be_missing(at_home, capsys, words, said):
    code, _, err = qsdnn(capsys, "quantize", "digits.onnx", *words, "--store", "s.db")
    assert code == 2 and said in err and "Traceback" not in err
