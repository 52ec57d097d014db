"""What a board's files say of it now: the host's side of the conversation with `surveyor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from qsdnn_boards.link.transport import Transport
from qsdnn_boards.spec.spec import Sensor, Spec

from .script import Script

# How long the surveyor may be silent: it runs programs that may take some 20 s each.
SILENCE_S = 120.0
MODULES = ("board.sensors", "board.knob", "board.performance")
"""The modules of the runtime that `surveyor` needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """The performance mode of a board now.

    Attributes:
        knobs: The state of each knob of the mode: see `qsdnn_runtime.board.knob.report`.
        can_be_root: Whether the board's user may do what needs root.
        set_back: The settings that a killed run had left set, and that are now as before that run.
        not_set_back: The settings that a killed run had left set and that stayed so, with the
            reason.
        busy: Whether the mode is set by somebody who measures now.
    """

    knobs: tuple[Mapping[str, str], ...] = ()
    can_be_root: bool = True
    set_back: tuple[str, ...] = ()
    not_set_back: tuple[str, ...] = ()
    busy: bool = False

    @property
    def can_be_set(self) -> bool:
        """Whether the whole mode can be set."""
        known = self.knobs and not any("problem" in knob for knob in self.knobs)
        return bool(known) and self.can_be_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was read from a board's files.

    Attributes:
        disk_free_mb: The free disk space where artifacts will be.
        governors: The governors of the processor's clocks, each once; empty without cpufreq.
        clocks_mhz: The present clock and the highest one, for each kind of core.
        readings: The values of the spec's sensors; None for sensors that cannot be read.
        mode: The state of the performance mode.
    """

    disk_free_mb: int
    governors: tuple[str, ...]
    clocks_mhz: tuple[tuple[float, float], ...]
    readings: Mapping[Sensor, float | None]
    mode: Mode = field(default_factory=Mode)


def survey(name: str, transport: Transport, spec: Spec) -> Survey:
    """Reads what a spec says can be read; sets back what a killed run has left set.

    Args:
        name: The board's name, for messages.
        transport: The transport to the board's Python: see `Script`.
        spec: The kind of board.

    Raises:
        BoardError: The board was lost, or has no Python.
    """
    with Script(name, transport, "surveyor.py", SILENCE_S, MODULES) as script:
        sensors = [dataclasses.asdict(sensor) for sensor in spec.sensors]
        performance = [dataclasses.asdict(setting) for setting in spec.performance]
        script.tell({"sensors": sensors, "performance": performance})
        answer = next(script.answers)
    mode = answer["performance"]
    return Survey(
        disk_free_mb=answer["disk_free_mb"],
        governors=tuple(answer["governors"]),
        clocks_mhz=tuple((now, most) for now, most in answer["clocks_mhz"]),
        readings=dict(zip(spec.sensors, answer["sensors"], strict=True)),
        mode=Mode(
            knobs=tuple(mode["knobs"]),
            can_be_root=mode["can_be_root"],
            set_back=tuple(mode["set_back"]),
            not_set_back=tuple(mode["not_set_back"]),
            busy=mode["busy"],
        ),
    )
