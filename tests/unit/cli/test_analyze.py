from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from qsdnn import examples
from qsdnn.cli.analyze import command
from qsdnn.cli.options import parse_shapes
from qsdnn.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "kws9.onnx"
    path.write_bytes(examples.build("kws9").SerializeToString())
    return path


def invoke(*args: str | Path) -> Result:
    result = CliRunner().invoke(command, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit | InputError):
        raise result.exception
    return result


def test_table_has_each_layer_and_the_totals(model: Path) -> None:
    text = invoke(model).stdout
    assert "37.7 MFLOPs" in text
    assert all(f"conv{number}" in text for number in range(1, 7))


@pytest.mark.parametrize("width", [60, 40])
def test_a_narrow_terminal_shows_names_and_costs(
    width: int, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
        monkeypatch.setenv(name, value)
    lines = re.sub(r"\x1b\[[\d;]*m", "", invoke(model).stdout).splitlines()
    assert max(map(len, lines)) <= width
    first = next(line for line in lines if "conv1" in line)
    assert re.search(r"\d\.\d\d ", first), first
    assert any("columns do not fit" in line for line in lines)


def test_json_document(model: Path) -> None:
    result = invoke(model, "--json", "--bits", "8")
    document = json.loads(result.stdout)
    assert document["schema"] == "qsdnn.analyze/1"
    assert document["model"] == {
        "path": str(model),
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "layers": len(document["layers"]),
    }
    totals = document["totals"]
    assert totals["mflops"] == pytest.approx(37.7, rel=0.005)
    assert totals["weight_bits"] == 8
    assert totals["weight_mb"] == totals["parameters"] / 1e6
    assert totals["mmacs"] == pytest.approx(sum(row["mmacs"] for row in document["layers"]))


def test_sorted_by_macs(model: Path) -> None:
    layers = json.loads(invoke(model, "--json", "--sort", "macs").stdout)["layers"]
    macs = [row["mmacs"] for row in layers]
    assert macs == sorted(macs, reverse=True)


def test_csv_has_the_rows_of_the_json(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    layers = json.loads(invoke(model, "--json", "--csv", path).stdout)["layers"]
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    assert [record["name"] for record in records] == [row["name"] for row in layers]
    assert [float(record["mmacs"]) for record in records] == [row["mmacs"] for row in layers]


def test_unwritable_csv_is_an_input_error(model: Path, tmp_path: Path) -> None:
    result = invoke(model, "--csv", tmp_path / "none" / "layers.csv")
    assert isinstance(result.exception, InputError)
    assert "cannot write" in str(result.exception)


def test_missing_model_is_an_input_error(tmp_path: Path) -> None:
    assert isinstance(invoke(tmp_path / "none.onnx").exception, InputError)


def test_shapes_are_parsed() -> None:
    texts = ("input=1,3,224,224", "a=b:0=7")
    assert parse_shapes(texts) == {"input": (1, 3, 224, 224), "a=b:0": (7,)}


@pytest.mark.parametrize("text", ["1,3", "=1,3", "x=", "x=1,,3", "x=a", "x=0", "x=-1,3"])
def test_malformed_shapes_are_named(text: str) -> None:
    with pytest.raises(InputError, match="--shape input=1,3,224,224") as error:
        parse_shapes((text,))
    assert text in str(error.value)


def test_a_shape_given_twice_is_an_error() -> None:
    with pytest.raises(InputError, match="twice"):
        parse_shapes(("x=1", "x=2"))
