"""Tables that fit the terminal they are printed on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qsdnn import examples
from qsdnn.cli.console import Column, count, fitting, plain, print_table

COLUMNS = (
    Column(heading="layer", folds=True),
    Column(heading="kind", spare=1),
    Column(heading="shape", spare=2),
    Column(heading="MMACs", right=True),
)
ROWS = [
    ("/features/stage.0/block.1/conv", "conv", "1x64x56x56", "1,234.50"),
    ("[b]", "a\nb", "", ""),
]


@pytest.fixture(params=[80, 60, 40, 30])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The width of what rich takes for a terminal."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": request.param}.items():
        monkeypatch.setenv(name, str(value))
    width: int = request.param
    return width


def test_no_line_is_wider_and_what_is_left_out_is_said(
    terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table("net", COLUMNS, ROWS, total=("total", "", "", "1,234.50"), all_of_it="--csv FILE")
    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= terminal
    assert "1,234.50" in text and "[b]" in text and "MMACs" in text
    missing = {80: "", 60: "", 40: "1 column does not fit", 30: "2 columns do not fit"}[terminal]
    assert missing in text and ("fit in" in text) == bool(missing)


def test_the_most_important_columns_stay() -> None:
    def kept(width: int) -> list[str]:
        return [COLUMNS[i].heading for i in fitting(COLUMNS, ROWS, width)]

    assert kept(47) == ["layer", "kind", "shape", "MMACs"]
    assert kept(46) == ["layer", "kind", "MMACs"]
    assert kept(27) == kept(1) == ["layer", "MMACs"]


def test_nothing_is_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    name = "/".join(f"block{i}" for i in range(60))
    print_table("net", COLUMNS, [(name, "conv", "1x3", "0")])
    assert name in capsys.readouterr().out


def test_one_has_no_plural() -> None:
    assert [count(n, "layer") for n in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]


FULL = Path("/dev/full")


def run(
    *words: str | Path, stdout: int = subprocess.PIPE, **environment: str
) -> tuple[int, str, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "qsdnn", *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )
    out = (ran.stdout or b"").decode("ascii") if environment else (ran.stdout or b"").decode()
    return ran.returncode, out, ran.stderr.decode("ascii" if environment else "utf-8")


def test_symbols_become_what_resembles_them() -> None:
    assert plain("1.04× faster (3.6–3.7), 70 °C, …") == "1.04x faster (3.6-3.7), 70 deg C, ..."
    assert plain("ünï\udcff ⠋") == "\\xfcn\\xef\\udcff *"


def test_a_result_is_written_in_ascii_where_there_is_no_more(tmp_path: Path) -> None:
    path = tmp_path / "netz_größe.onnx"
    path.write_bytes(examples.build("tiny-cnn").SerializeToString())
    code, out, err = run("analyze", path, PYTHONIOENCODING="ascii")
    assert code == 0, err
    assert "netz_gr\\xf6\\xdfe" in out and "MFLOPs - " in out and "+---" in out


def test_help_and_errors_are_written_in_ascii_too(tmp_path: Path) -> None:
    assert run("bench", "--help", PYTHONIOENCODING="latin-1")[0] == 0
    code, _, err = run("analyze", tmp_path / "größe.onnx", PYTHONIOENCODING="ascii")
    assert code == 2 and "gr\\xf6\\xdfe.onnx" in err and "Traceback" not in err


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["example", "--list"], ["example", "--list", "--json"]])
def test_a_full_disk_under_the_output_is_said(words: list[str]) -> None:
    with FULL.open("wb") as full:
        code, _, err = run(*words, stdout=full.fileno())
    assert code == 1
    assert err == "error: cannot write the output: No space left on device\nprint it elsewhere\n"


def test_a_reader_that_goes_away_is_no_defect() -> None:
    read, write = os.pipe()
    os.close(read)
    code, _, err = run("example", "--list", stdout=write)
    os.close(write)
    assert (code, err) == (1, "")


def test_errors_in_json_on_a_full_disk_keep_their_exit_code() -> None:
    with FULL.open("wb") as full:
        code, _, err = run("analyze", "none.onnx", "--json", stdout=full.fileno())
    assert code == 2 and "none.onnx" in err and "Traceback" not in err and "Exception" not in err
