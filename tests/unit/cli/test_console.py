"""Tables that fit the terminal they are printed on."""

from __future__ import annotations

import re

import pytest

from qsdnn.cli.console import Column, count, fitting, print_table

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
