"""Groups that are measured again, in real children, on a board whose sensors are files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qsdnn.board import Care, MeasureOptions, Package
from qsdnn_boards.link import wire
from qsdnn_boards.spec.spec import GENERIC, specs
from qsdnn_runtime.frames import Frame
from qsdnn_runtime.program.values import pack_values
from qsdnn_runtime.server.conditions import Conditions
from qsdnn_runtime.server.group import Group
from qsdnn_runtime.server.trust import Repeats

from .conftest import LOADERS

OPTIONS = MeasureOptions(budget_s=1.5, min_runs=200, max_runs=10**6, precision=0.0, again=2)
SLOWING = "sys/class/thermal/cooling_device0"


@pytest.fixture
def throttling(tmp_path: Path) -> Callable[[bool], None]:
    """Has the kernel of the board in `tmp_path` slow it down, or no more."""
    (tmp_path / SLOWING).mkdir(parents=True)
    (tmp_path / SLOWING / "type").write_text("cpufreq-cpu0\n")

    def throttle(now: bool) -> None:
        (tmp_path / SLOWING / "cur_state").write_text(f"{int(now)}\n")

    return throttle


@pytest.fixture
def measure(tmp_path, monkeypatch, reference):
    """Measures packages; the records that were told, in order, and what was told besides."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(LOADERS))

    def measure(
        packages: list[Package], options: MeasureOptions, on_progress: Callable[[str], None]
    ) -> list[tuple[int, dict[str, Any]]]:
        conditions = wire.conditions(specs()[GENERIC], Care(), perform=False)
        header, _ = wire.measure_request(packages, reference, options, conditions)
        values = {"feeds": [*reference.feeds.values()], "outputs": [*reference.outputs.values()]}
        header["values"], pieces = pack_values(values)
        told: list[tuple[int, dict[str, Any]]] = []
        around = Conditions(header, [], [], Repeats(), on_progress, tmp_path)
        Group(
            Frame(header, b"".join(pieces)),
            [package.folder for package in packages],
            tmp_path,
            around,
            lambda index, record: told.append((index, record)),
            on_progress,
        ).run()
        return told

    return measure


@pytest.mark.parametrize("profile", [False, True])
def test_a_throttled_group_is_measured_again_whole_until_it_is_not(
    measure, make_package, throttling, profile
):
    throttling(True)
    heard: list[str] = []

    def on_progress(text: str) -> None:
        heard.append(text)
        if text == "measuring again: it was throttled":
            throttling(False)

    packages = [make_package(name, sleep_s=0.002) for name in "ab"]
    told = measure(packages, dataclasses.replace(OPTIONS, profile=profile), on_progress)
    last = dict(told)
    assert "throttled" not in [last[index]["trust"] for index in range(2)]
    assert all(last[index]["context"]["passes"] >= 2 for index in range(2))
    assert heard.count("measuring again: it was throttled") == 1
    assert ("layers_ms" in last[0]) is profile


def test_what_stays_throttled_is_marked_after_the_last_repeat(measure, make_package, throttling):
    throttling(True)
    heard: list[str] = []
    told = measure([make_package(sleep_s=0.002)], OPTIONS, heard.append)
    assert dict(told)[0]["trust"] == "throttled"
    assert dict(told)[0]["context"]["passes"] == 3, heard
    assert heard.count("measuring again: it was throttled") == 2


def test_an_engine_that_fails_in_a_repeat_leaves_the_first_record(
    measure, make_package, throttling, tmp_path
):
    throttling(True)
    good = make_package("good", sleep_s=0.002)
    flaky = make_package("flaky", sleep_s=0.002)

    def on_progress(text: str) -> None:
        if text.startswith("measuring again"):
            (flaky.folder / next(iter(flaky.manifest["artifacts"]))).write_bytes(b"spoilt")

    told = measure([good, flaky], OPTIONS, on_progress)
    assert [dict(told)[index]["state"] for index in range(2)] == ["ok", "ok"]
    assert dict(told)[0]["context"]["passes"] == 2
