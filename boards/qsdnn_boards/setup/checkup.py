"""Whether a board can work: what was found on it, judged, each finding with a way to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qsdnn.board import BoardInfo
from qsdnn.engine import PACKAGES
from qsdnn_boards.spec.spec import COOL_C, Quantity, Sensor

from .survey import Mode, Survey

OLDEST_PYTHON = (3, 8)
# An engine, its buffers and the system need this much; with less a board swaps or kills processes.
LITTLE_MEMORY_MB = 512
# Artifacts of a search of a large network are a few hundred MB.
LITTLE_DISK_MB = 1024
NO_DISK_MB = 64
SLOW_SHARE = 0.9


class CheckVerdict(StrEnum):
    """How good a finding is."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        item: The name of what was looked at.
        verdict: Whether the item will do; nothing can be measured when any item is missing.
        found: What there is, or what was not found.
        fix: What to do about the item; empty when the item is in order.
    """

    item: str
    verdict: CheckVerdict
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixes:
    """How a board is mended, as texts for `Finding.fix`.

    Attributes:
        install: The command that installs an engine; ``{engine}`` in it stands for the engine,
            ``{package}`` for its package.
        perform: How to bring the board into its performance mode.
        performs: Whether a measurement sets the performance mode, where the board lets it.
    """

    install: str
    perform: str
    performs: bool = False


def survey_findings(survey: Survey, fixes: Fixes) -> list[Finding]:
    """Findings from what a board's files say now.

    Args:
        survey: What was read from the board's files.
        fixes: The texts that say how to mend what is not in order.
    """
    return [
        _disk(survey),
        _clock(survey, fixes),
        _governor(survey, fixes),
        *_mode(survey.mode, fixes),
        *_sensors(survey),
    ]


def probe_findings(info: BoardInfo, engines: Iterable[str], fixes: Fixes) -> list[Finding]:
    """Findings from what a board's measuring server says.

    Args:
        info: What the measuring server says of the board.
        engines: The names of the engines that qsdnn can use.
        fixes: The texts that say how to mend what is not in order.
    """
    facts = info.facts
    return [
        _python(facts),
        _numpy(facts, fixes),
        *_engines(info, engines, fixes),
        Finding(item="cores", verdict=CheckVerdict.OK, found=f"{facts['cores']}: {facts['cpu']}"),
        _memory(facts),
        *_gpus(facts),
    ]


def _python(facts: Mapping[str, Any]) -> Finding:
    text = facts["python"]
    version = tuple(int(part) for part in text.split(".")[:2])
    if version >= OLDEST_PYTHON:
        return Finding(item="python", verdict=CheckVerdict.OK, found=text)
    fix = "install Python 3.8 or newer there, and name it: qsdnn boards add … --python PATH"
    return Finding(item="python", verdict=CheckVerdict.MISSING, found=text, fix=fix)


def _numpy(facts: Mapping[str, Any], fixes: Fixes) -> Finding:
    if "numpy" in facts:
        return Finding(item="numpy", verdict=CheckVerdict.OK, found=facts["numpy"])
    broken = facts.get("broken_engines", {}).get("python", "not installed")
    fix = _install(fixes, "blas")
    return Finding(item="numpy", verdict=CheckVerdict.MISSING, found=_last_line(broken), fix=fix)


def _install(fixes: Fixes, engine: str) -> str:
    return fixes.install.format(engine=engine, package=PACKAGES.get(engine, engine))


def _engines(info: BoardInfo, engines: Iterable[str], fixes: Fixes) -> Iterator[Finding]:
    """A finding for each engine. One is enough; `blas` is numpy, so numpy alone makes an engine."""
    broken = info.facts.get("broken_engines", {})
    for name in sorted({*engines, *info.engines}):
        if name in info.engines:
            engine = info.engines[name]
            told = [c for c in engine.capabilities if ":" not in c]  # others are for hosts
            words = [engine.version, *engine.devices, *told]
            yield Finding(item=name, verdict=CheckVerdict.OK, found=" ".join(words))
            for lack in engine.lacks:
                fix = f"only if you need it; the rest of {name} works"
                yield Finding(item=name, verdict=CheckVerdict.WARNING, found=lack, fix=fix)
        else:
            found = _last_line(broken.get(name, "not installed"))
            fix = _install(fixes, name)
            yield Finding(item=name, verdict=CheckVerdict.WARNING, found=found, fix=fix)
    if not info.engines:
        fix = "install one of the engines above"
        yield Finding(item="engines", verdict=CheckVerdict.MISSING, found="none", fix=fix)


def _gpus(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding for each GPU of NVIDIA's: its name, memory and driver."""
    for gpu in facts.get("gpus", ()):
        words = [gpu.get("name", "a GPU"), f"{gpu['memory_mb']} MB" if "memory_mb" in gpu else ""]
        words.append(f"driver {gpu['driver']}" if "driver" in gpu else "")
        found = ", ".join(filter(None, words))
        yield Finding(item="gpu", verdict=CheckVerdict.OK, found=found)


def _memory(facts: Mapping[str, Any]) -> Finding:
    memory_mb = facts["memory_mb"]
    if memory_mb >= LITTLE_MEMORY_MB:
        return Finding(item="memory", verdict=CheckVerdict.OK, found=f"{memory_mb} MB")
    fix = "large networks may not fit: end other programs there"
    return Finding(item="memory", verdict=CheckVerdict.WARNING, found=f"{memory_mb} MB", fix=fix)


def _disk(survey: Survey) -> Finding:
    free_mb = survey.disk_free_mb
    verdict = CheckVerdict.OK if free_mb >= LITTLE_DISK_MB else CheckVerdict.WARNING
    verdict = CheckVerdict.MISSING if free_mb < NO_DISK_MB else verdict
    fix = "" if verdict is CheckVerdict.OK else "free some space in the home folder there"
    return Finding(item="disk", verdict=verdict, found=f"{free_mb} MB free", fix=fix)


def _clock(survey: Survey, fixes: Fixes) -> Finding:
    if not survey.clocks_mhz:
        fix = "throttling may go unnoticed: a virtual machine, or a kernel without cpufreq"
        found = "cannot be read"
        return Finding(item="clock", verdict=CheckVerdict.WARNING, found=found, fix=fix)
    slow = any(now < SLOW_SHARE * most for now, most in survey.clocks_mhz)
    slow = slow and not _is_set_in_time(survey, fixes)
    return Finding(
        item="clock",
        verdict=CheckVerdict.WARNING if slow else CheckVerdict.OK,
        found=", ".join(f"{now:.0f} of {most:.0f} MHz" for now, most in survey.clocks_mhz),
        fix=fixes.perform if slow else "",
    )


def _governor(survey: Survey, fixes: Fixes) -> Finding:
    if not survey.governors:
        found = "none: the clock is not the kernel's to choose"
        return Finding(item="governor", verdict=CheckVerdict.OK, found=found)
    fast = survey.governors == ("performance",) or _is_set_in_time(survey, fixes)
    return Finding(
        item="governor",
        verdict=CheckVerdict.OK if fast else CheckVerdict.WARNING,
        found=", ".join(survey.governors),
        fix="" if fast else fixes.perform,
    )


def _is_set_in_time(survey: Survey, fixes: Fixes) -> bool:
    """Whether the performance mode will be set before anything is measured."""
    return fixes.performs and survey.mode.can_be_set


def _mode(mode: Mode, fixes: Fixes) -> Iterator[Finding]:
    """A finding for what a killed run had left set, and one for each setting."""
    item = "performance mode"
    if mode.busy:
        yield Finding(item=item, verdict=CheckVerdict.OK, found="set by a run that measures now")
    if mode.set_back:
        found = f"a run that was killed had left it set; now set back: {', '.join(mode.set_back)}"
        fix = "nothing more: it is as it was before that run"
        yield Finding(item=item, verdict=CheckVerdict.WARNING, found=found, fix=fix)
    if mode.not_set_back:
        found = f"a run that was killed has left it set: {', '.join(mode.not_set_back)}"
        fix = "set it back by hand, then remove performance.json in qsdnn's cache folder there"
        yield Finding(item=item, verdict=CheckVerdict.WARNING, found=found, fix=fix)
    for what in dict.fromkeys(knob["what"] for knob in mode.knobs):
        yield _setting([knob for knob in mode.knobs if knob["what"] == what], mode, fixes)


def _setting(knobs: Sequence[Mapping[str, str]], mode: Mode, fixes: Fixes) -> Finding:
    """The finding for a setting, of all files of that setting in one line."""
    item = knobs[0]["what"]
    problems = [knob["problem"] for knob in knobs if "problem" in knob]
    if problems:
        fix = "measurements go without it"
        return Finding(item=item, verdict=CheckVerdict.WARNING, found=problems[0], fix=fix)
    now = ", ".join(dict.fromkeys(knob["now"] for knob in knobs if "now" in knob))
    wanted = knobs[0].get("wanted", "")
    if now and now == wanted:
        return Finding(item=item, verdict=CheckVerdict.OK, found=now)
    found = f"{now or 'not known'} now" + (f", {wanted} is wanted" if wanted else "")
    if not mode.can_be_root:
        fix = "needs root: log in as root, or let sudo there do it without a password"
        return Finding(item=item, verdict=CheckVerdict.WARNING, found=found, fix=fix)
    if not fixes.performs:
        return Finding(item=item, verdict=CheckVerdict.WARNING, found=found, fix=fixes.perform)
    return Finding(item=item, verdict=CheckVerdict.OK, found=f"{found}: set while measuring")


def _sensors(survey: Survey) -> Iterator[Finding]:
    """A finding for each quantity. A spec's list of sensors is a guess, so none is required."""
    if not any(sensor.quantity is Quantity.TEMPERATURE_C for sensor in _read(survey)):
        fix = "throttling may go unnoticed: keep the board cool"
        yield Finding(item="temperature_c", verdict=CheckVerdict.WARNING, found="none", fix=fix)
    for quantity in Quantity:
        values = {s.name: value for s, value in _read(survey).items() if s.quantity is quantity}
        if not values:
            continue
        hot = quantity is Quantity.TEMPERATURE_C and max(values.values()) >= COOL_C
        yield Finding(
            item=quantity.value,
            verdict=CheckVerdict.WARNING if hot else CheckVerdict.OK,
            found=", ".join(f"{name} {value:.0f}" for name, value in values.items()),
            fix="measurements wait until it is cooler" if hot else "",
        )
    if unread := [
        f"{s.name} {s.quantity}" for s, value in survey.readings.items() if value is None
    ]:
        yield Finding(
            item="sensors",
            verdict=CheckVerdict.WARNING,
            found=f"cannot be read: {', '.join(unread)}",
            fix="only if you need them: another kernel names them otherwise, or only root may",
        )


def _read(survey: Survey) -> dict[Sensor, float]:
    return {sensor: value for sensor, value in survey.readings.items() if value is not None}


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "broken"
