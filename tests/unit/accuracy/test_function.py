"""Evaluators of a user's own, good and bad: never a traceback."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from qsdnn.accuracy.function import UserFunction, load_function
from qsdnn.errors import InputError

OUTPUTS = {"y": np.ones((3, 2), np.float32)}
COUNT = itertools.count()


def load(folder: Path, text: str, function: str = "score") -> UserFunction:
    """From a module of its own: a name is imported once in a process."""
    name = f"metrics_of_a_test_{next(COUNT)}"
    (folder / f"{name}.py").write_text(text)
    return load_function(f"{name}:{function}", folder)


def refusal(act) -> str:
    with pytest.raises(InputError) as caught:
        act()
    assert caught.value.hint
    return caught.value.message


def test_it_gets_outputs_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    metric = load(
        tmp_path, "def score(outputs, labels):\n    return outputs['y'].sum() + labels.sum()\n"
    )
    assert metric.score(OUTPUTS, np.array([1, 2, 3])) == 12.0 and metric.higher_is_better
    assert metric.name in metric.key
    (tmp_path / "in_the_working_directory.py").write_text("def score(o, l): return l is None\n")
    monkeypatch.chdir(tmp_path)
    assert load_function("in_the_working_directory:score").score(OUTPUTS, None) == 1.0


def test_an_edited_evaluator_is_another_metric(tmp_path: Path):
    texts = ["def score(o, l): return 1\n", "def score(o, l): return 2\n"]
    keys = [load(tmp_path, text).key.partition("@")[2] for text in (*texts, texts[0])]
    assert keys[0] == keys[2] != keys[1]


def test_one_that_is_not_there(tmp_path: Path):
    assert "not of the form MODULE:FUNCTION" in refusal(lambda: load_function("metrics"))
    said = refusal(lambda: load_function("no_such_module:score", tmp_path))
    assert f"there is no module 'no_such_module' in {tmp_path}" in said
    with pytest.raises(InputError, match="has no function 'scroe'") as caught:
        load(tmp_path, "def score(o, l): ...\n", "scroe")
    assert caught.value.hint == "it has: score"


def test_a_module_that_cannot_be_imported(tmp_path: Path):
    assert "raised ModuleNotFoundError: No module named 'pycocotools'" in refusal(
        lambda: load(tmp_path, "import pycocotools\n")
    )
    assert "raised SyntaxError" in refusal(lambda: load(tmp_path, "def score(:\n"))
    assert "raised ZeroDivisionError: division by zero" in refusal(lambda: load(tmp_path, "1 / 0"))
    assert "raised SystemExit: 3" in refusal(lambda: load(tmp_path, "import sys; sys.exit(3)"))


def test_one_that_raises_is_said_in_one_line(tmp_path: Path):
    text = "def score(outputs, labels):\n    return outputs['scores'].mean()\n"
    metric = load(tmp_path, text)
    said = refusal(lambda: metric.score(OUTPUTS, None))
    file = tmp_path / f"{metric.name.split(':')[0]}.py"
    assert said == f"evaluator {metric.name} raised KeyError: 'scores' ({file}:2)"


@pytest.mark.parametrize("what", ["None", "'good'", "float('nan')", "float('inf')", "[1, 2]"])
def test_one_that_returns_no_number(tmp_path: Path, what: str):
    metric = load(tmp_path, f"def score(outputs, labels): return {what}\n")
    said = refusal(lambda: metric.score(OUTPUTS, None))
    assert said.endswith("no number") and "returned" in said


def test_one_cannot_change_what_others_see(tmp_path: Path):
    metric = load(tmp_path, "def score(outputs, labels):\n    outputs['y'] *= 0\n    return 1\n")
    assert "read-only" in refusal(lambda: metric.score(OUTPUTS, None))
    assert OUTPUTS["y"].all() and OUTPUTS["y"].flags.writeable
