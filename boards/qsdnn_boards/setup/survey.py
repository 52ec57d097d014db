"""What a board's files say of it now: the host's half of `surveyor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from .script import Script
from ..spec.spec import Sensor, Spec
from ..link.transport import Transport

# It runs programs that may take some 20 s each.
SILENCE_S = 120.0
MODULES = ("board.commands", "board.readings", "board.knob", "board.performance")
"""Of the runtime, which `surveyor` needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """The performance mode of a board now.

    Attributes:
        knobs: What holds of each thing that it sets: see `qsdnn_runtime.board.knob.report`.
        can_be_root: Whether its user may do what needs root.
        set_back: What a run that was killed had left set, and is now as it was before.
        not_set_back: What of that could not be set back, and why.
        busy: It is set by somebody who measures now.
    """

    knobs: tuple[Mapping[str, str], ...] = ()
    can_be_root: bool = True
    set_back: tuple[str, ...] = ()
    not_set_back: tuple[str, ...] = ()
    busy: bool = False

    @property
    def can_be_set(self) -> bool:
        """Whether all of it can."""
        known = self.knobs and not any("problem" in knob for knob in self.knobs)
        return bool(known) and self.can_be_root


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was read.

    Attributes:
        disk_free_mb: Where artifacts will be.
        governors: Of the processor's clocks, each once; none where the kernel has none.
        clocks_mhz: Now, and at most, for each kind of core.
        readings: Of the spec's sensors; None of those that cannot be read.
        mode: The performance mode.
    """

    disk_free_mb: int
    governors: tuple[str, ...]
    clocks_mhz: tuple[tuple[float, float], ...]
    readings: Mapping[Sensor, float | None]
    mode: Mode = field(default_factory=Mode)


def survey(name: str, transport: Transport, spec: Spec) -> Survey:
    """Reads what a spec says can be read; sets back what a run that was killed has left set.

    Args:
        name: Of the board, for messages.
        transport: See `Script`.
        spec: What kind of board it is.

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
