"""Progress: one line that counts down against the budget, and plain lines without a terminal."""

import re

import pytest

from qsdnn.cli.progress import Terminal


def shown(capsys, monkeypatch, live, waited_s=0.0, **options):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1" if live else "0")
    with Terminal(**options) as terminal:
        terminal.phase("Loading", 2)
        terminal.phase("Racing uniform plans", 7)
        terminal.best(3.14159)
        terminal.waited(waited_s)
        terminal.step()
        terminal.note("a plan ended")
        terminal.phase("Learning round 1", 1000)
        terminal.phase("Final", 12)
    out, err = capsys.readouterr()
    assert out == ""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err)


def test_a_line_a_phase_without_a_terminal(capsys, monkeypatch):
    lines = shown(capsys, monkeypatch, False, budget_s=300.0).splitlines()
    assert lines == [
        "Loading …", "Racing uniform plans …", "note: a plan ended", "Learning round 1 …",
        "Final …",
    ]  # fmt: skip


def test_notes_alone_when_quiet(capsys, monkeypatch):
    assert shown(capsys, monkeypatch, False, quiet=True, budget_s=9.0) == "note: a plan ended\n"


@pytest.mark.parametrize("budget_s", [300.0, None])
def test_a_terminal_shows_one_line(capsys, monkeypatch, budget_s):
    text = shown(capsys, monkeypatch, True, budget_s=budget_s)
    assert "note: a plan ended" in text and "Final" in text
    if budget_s is not None:
        assert re.search(r"Final.*at most (5:00|4:5\d) left.*best 3.142 ms", text)
    assert "Whole" not in text


def test_what_the_board_was_waited_for_is_left_besides(capsys, monkeypatch):
    text = shown(capsys, monkeypatch, True, waited_s=120.0, budget_s=300.0)
    assert re.search(r"Final.*at most (7:00|6:5\d) left", text)
