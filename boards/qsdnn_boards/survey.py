"""What a board's files say of it now: the host's half of `surveyor`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from .script import Script
from .spec import Sensor, Spec
from .transport import Transport

SILENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was read.

    Attributes:
        disk_free_mb: Where artifacts will be.
        governors: Of the processor's clocks, each once; none where the kernel has none.
        clocks_mhz: Now, and at most, for each kind of core.
        readings: Of the spec's sensors; None of those that cannot be read.
    """

    disk_free_mb: int
    governors: tuple[str, ...]
    clocks_mhz: tuple[tuple[float, float], ...]
    readings: Mapping[Sensor, float | None]


def survey(name: str, transport: Transport, spec: Spec) -> Survey:
    """Reads what a spec says can be read.

    Args:
        name: Of the board, for messages.
        transport: See `Script`.
        spec: What kind of board it is.

    Raises:
        BoardError: The board was lost, or has no Python.
    """
    with Script(name, transport, "surveyor.py", SILENCE_S) as script:
        script.tell({"sensors": [dataclasses.asdict(sensor) for sensor in spec.sensors]})
        answer = next(script.answers)
    return Survey(
        disk_free_mb=answer["disk_free_mb"],
        governors=tuple(answer["governors"]),
        clocks_mhz=tuple((now, most) for now, most in answer["clocks_mhz"]),
        readings=dict(zip(spec.sensors, answer["sensors"], strict=True)),
    )
