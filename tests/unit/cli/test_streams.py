"""Terminals that lack characters, and output that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qsdnn import examples
from qsdnn.cli.streams import plain

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
