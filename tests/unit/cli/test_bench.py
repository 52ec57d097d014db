"""What `qsdnn bench` makes of its subjects before it measures; the rest is in test_main_job."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qsdnn.board import BoardInfo, Package
from qsdnn.cli.bench import _doubts
from qsdnn.engine import EngineInfo
from qsdnn.errors import InputError
from qsdnn.measure.comparison import _threads
from qsdnn.plan.subject import Subject, open_subject


def subject(threads: int, **manifest: Any) -> Subject:
    package = Package(manifest=manifest, folder=Path(), digest="")
    return Subject(name="", package=package, tensors={}, threads=threads)


def test_threads_are_those_of_the_first_plan_or_package() -> None:
    bare = subject(1, bare=True)
    assert _threads([bare, subject(4), subject(2)]) == 4
    assert _threads([bare, bare]) == 1


def test_what_disturbed_several_is_said_once() -> None:
    said = {"a": "disturbed: …", "b": "", "c": "noisy: …", "d": "disturbed: …"}
    rows: Any = [SimpleNamespace(name=name, doubt=doubt) for name, doubt in said.items()]
    assert _doubts(rows) == {"disturbed: …": ["a", "d"], "noisy: …": ["c"]}


def test_an_engine_that_the_board_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    engines = {"blas": EngineInfo(name="blas", version="")}
    info = BoardInfo(name="lab", fingerprint="", engines=engines, facts={})
    with pytest.raises(InputError, match="the board lab does not have ncnn\nit has blas") as caught:
        open_subject(tmp_path / "net.onnx@ncnn", None, info, tmp_path)
    assert "qsdnn boards check lab" in caught.value.hint
