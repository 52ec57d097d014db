from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from qsdnn.board import BoardInfo
from qsdnn.engine import EngineInfo
from qsdnn_boards.setup.checkup import CheckVerdict, Finding, Fixes, probe_findings, survey_findings
from qsdnn_boards.setup.script import local_python
from qsdnn_boards.setup.survey import Mode, Survey, survey
from qsdnn_boards.spec.spec import Quantity, Sensor, specs

FACTS: dict[str, Any] = {
    "cpu": "Cortex-A57",
    "cores": 4,
    "memory_mb": 3956,
    "python": "3.8.10",
    "numpy": "1.24.4",
}
FIXES = Fixes(install="install {engine}", perform="set the mode")
ENGINES = {"onnxruntime": EngineInfo(name="onnxruntime", version="1.19.2", devices=("CPU",))}
CPU = Sensor(name="cpu", quantity=Quantity.TEMPERATURE_C, zones=("cpu-thermal",), scale=0.001)
RAIL = Sensor(name="VDD_IN", quantity=Quantity.POWER_MW, files=("/sys/x",), scale=1)
SURVEY = Survey(
    disk_free_mb=9000,
    governors=("performance",),
    clocks_mhz=((1479.0, 1479.0), (2000.0, 2035.0)),
    readings={CPU: 41.5, RAIL: 2400.0},
)


def by_item(found: list[Finding]) -> dict[str, Finding]:
    assert len({finding.item for finding in found}) == len(found)
    return {finding.item: finding for finding in found}


def probe(engines: dict[str, EngineInfo] = ENGINES, **changes: Any) -> dict[str, Finding]:
    facts = {key: value for key, value in {**FACTS, **changes}.items() if value is not None}
    info = BoardInfo(name="lab", fingerprint="f", engines=engines, facts=facts)
    return by_item(probe_findings(info, ["onnxruntime"], FIXES))


def look(**changes: Any) -> dict[str, Finding]:
    return by_item(survey_findings(dataclasses.replace(SURVEY, **changes), FIXES))


def test_a_board_in_order_needs_nothing() -> None:
    found = {**probe(), **look()}
    assert {finding.verdict for finding in found.values()} == {CheckVerdict.OK}
    assert not any(finding.fix for finding in found.values())
    assert found["onnxruntime"].found == "1.19.2 CPU"
    assert found["power_mw"].found == "VDD_IN 2400"


@pytest.mark.parametrize(
    ("item", "verdict", "changes"),
    [
        ("python", CheckVerdict.MISSING, {"python": "3.7.3"}),
        (
            "numpy",
            CheckVerdict.MISSING,
            {"numpy": None, "broken_engines": {"python": "x\nno numpy"}},
        ),
        ("engines", CheckVerdict.MISSING, {"engines": {}}),
        (
            "onnxruntime",
            CheckVerdict.WARNING,
            {"engines": {}, "broken_engines": {"onnxruntime": "?"}},
        ),
        ("memory", CheckVerdict.WARNING, {"memory_mb": 430}),
    ],
)
def test_what_the_agent_lacks_comes_with_a_fix(
    item: str, verdict: CheckVerdict, changes: dict[str, Any]
) -> None:
    finding = probe(**changes)[item]
    assert finding.verdict is verdict
    assert finding.fix


@pytest.mark.parametrize(
    ("item", "verdict", "changes"),
    [
        ("disk", CheckVerdict.WARNING, {"disk_free_mb": 500}),
        ("disk", CheckVerdict.MISSING, {"disk_free_mb": 20}),
        ("governor", CheckVerdict.WARNING, {"governors": ("performance", "schedutil")}),
        ("clock", CheckVerdict.WARNING, {"clocks_mhz": ((1479.0, 1479.0), (900.0, 2035.0))}),
        ("clock", CheckVerdict.WARNING, {"clocks_mhz": ()}),
        ("temperature_c", CheckVerdict.WARNING, {"readings": {CPU: 82.0}}),
        ("temperature_c", CheckVerdict.WARNING, {"readings": {RAIL: 1.0}}),
        ("sensors", CheckVerdict.WARNING, {"readings": {CPU: 40.0, RAIL: None}}),
    ],
)
def test_what_the_survey_lacks_comes_with_a_fix(
    item: str, verdict: CheckVerdict, changes: dict[str, Any]
) -> None:
    finding = look(**changes)[item]
    assert finding.verdict is verdict
    assert finding.fix


def test_the_clock_and_the_governor_are_mended_by_the_performance_mode() -> None:
    found = look(governors=("ondemand",), clocks_mhz=((900.0, 2000.0),))
    assert found["governor"].fix == found["clock"].fix == "set the mode"


ONDEMAND = {"what": "governor mode", "now": "ondemand", "wanted": "performance"}
PERFORMS = dataclasses.replace(FIXES, performs=True)


def mode(fixes: Fixes = PERFORMS, **changes: Any) -> dict[str, Finding]:
    """What is said of a performance mode of two processors."""
    whole = Mode(**{"knobs": (ONDEMAND, ONDEMAND), **changes})
    slow = dataclasses.replace(SURVEY, mode=whole, governors=("ondemand",))
    return by_item(survey_findings(slow, fixes))


def test_a_performance_mode_that_measurements_set_needs_nothing() -> None:
    found = mode()
    assert found["governor mode"].verdict is found["governor"].verdict is CheckVerdict.OK
    assert found["governor mode"].found == (
        "ondemand now, performance is wanted: set while measuring"
    )
    set_now = {**ONDEMAND, "now": "performance"}
    assert mode(knobs=(set_now,))["governor mode"].found == "performance"


@pytest.mark.parametrize(
    ("changes", "found", "fix"),
    [
        ({"can_be_root": False}, "ondemand now", "needs root"),
        ({"knobs": ({**ONDEMAND, "problem": "no such file"},)}, "no such file", "without it"),
        ({"fixes": FIXES}, "performance is wanted", "set the mode"),
    ],
)
def test_what_measurements_do_not_set_is_said(
    changes: dict[str, Any], found: str, fix: str
) -> None:
    finding = mode(**changes)["governor mode"]
    assert finding.verdict is CheckVerdict.WARNING
    assert found in finding.found and fix in finding.fix


def test_what_a_killed_run_left_is_said() -> None:
    left = mode(set_back=("governor to 'ondemand'",))["performance mode"]
    assert left.verdict is CheckVerdict.WARNING and "now set back: governor" in left.found
    stays = mode(not_set_back=("governor: no",))["performance mode"]
    assert stays.verdict is CheckVerdict.WARNING and "by hand" in stays.fix
    assert mode(busy=True)["performance mode"].verdict is CheckVerdict.OK


def test_a_kernel_without_governors_is_in_order() -> None:
    assert look(governors=())["governor"].verdict is CheckVerdict.OK


def test_an_engine_is_mended_by_its_name() -> None:
    found = probe(engines={}, numpy=None)
    assert found["onnxruntime"].fix == "install onnxruntime"
    assert found["numpy"].fix == "install blas"


def test_surveys_this_machine() -> None:
    spec = specs()["jetson-agx-orin"]
    found = survey("here", local_python(), spec)
    assert found.disk_free_mb > 0
    assert tuple(found.readings) == spec.sensors
    assert found.readings[spec.sensors[3]] is None  # a power rail of a Jetson
