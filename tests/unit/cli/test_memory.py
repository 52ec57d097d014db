"""``--max-memory``: what a plan may take, measured on the board."""

import json
import re

import pytest

from qsdnn.cli import main
from qsdnn.cli.options import parse_size_mb
from qsdnn.errors import InputError


@pytest.fixture
def search(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["search", "net.onnx", "--engines", "onnxruntime,openvino", "--store", "s.db",
                  "--budget", "2s", "--json", *words])  # fmt: skip
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    with pytest.raises(SystemExit):
        main(["example", "tiny-cnn", "-o", "net.onnx"])
    return run


def test_an_engine_that_takes_too_much_is_left_out(search):
    code, _, err = search("--max-memory", "1M")
    assert code == 4
    assert "onnxruntime/nchwc/fp32: unsupported: takes" in err and "--max-memory is 1 MB" in err
    sizes = [float(size) for size in re.findall(r"takes (\d+) MB", err)]
    low, high = min(sizes), max(sizes)
    assert 20 < 1.15 * low < high < 1000  # OpenVINO's libraries are the larger ones
    code, out, err = search("--max-memory", f"{(low + high) / 2:.0f}M")
    assert code == 0, err
    found = json.loads(out)
    assert 20 < found["peak_memory_mb"] <= (low + high) / 2
    assert {row["name"].split("/")[0] for row in found["baselines"] if row["feasible"]} == {
        "onnxruntime"
    }


@pytest.mark.parametrize(("text", "mb"), [("300M", 300), ("2G", 2000), ("64", 64), ("1.5gb", 1500)])
def test_sizes(text, mb):
    assert parse_size_mb("--max-memory", text) == mb


@pytest.mark.parametrize("text", ["", "0", "-3M", "much", "3T"])
def test_no_sizes(text):
    with pytest.raises(InputError, match="not a size"):
        parse_size_mb("--max-memory", text)
