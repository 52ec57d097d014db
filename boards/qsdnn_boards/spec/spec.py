"""What is known of a kind of board before one is reached: facts, performance mode, sensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType

from qsdnn_runtime.board.nvml import NAMES

from .toml_table import TomlTable

FOLDER = Path(__file__).parents[1] / "specs"
GENERIC = "generic-linux"
"""The spec of a board of which nothing is known."""

KEYS = (
    *("title", "run_on_hardware", "facts", "notes", "sources"),
    *("performance", "sensors", "max_temperature_c"),
)
# The default temperature limit: the kernel slows most boards down from 80 °C on, and measuring a
# group warms a board up by some degrees.
COOL_C = 70.0
PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Quantity(StrEnum):
    """The quantity that a sensor measures, named with its unit."""

    TEMPERATURE_C = "temperature_c"
    POWER_MW = "power_mw"
    ENERGY_J = "energy_j"
    """The energy counted since some start: power is its difference over time."""
    FREQUENCY_MHZ = "frequency_mhz"
    LOAD_PERCENT = "load_percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something a data sheet or a report says of the board."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments; no shell reads it.

    Attributes:
        run: The program's name, then its arguments. ``{path}``, ``{value}`` and ``{state}`` in an
            argument stand for what `Setting` says.
        input: What is written to the program's standard input; may hold the same placeholders.
    """

    run: tuple[str, ...]
    input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of the performance mode: how to ask for it, set it, and set it back.

    Attributes:
        what: The name of the setting, for people.
        needs_root: Whether the setting's commands need root.
        each: A glob: every command runs for each file that matches, which is ``{path}`` then.
            Empty: every command runs once.
        query: The command that prints the present value, or keeps it in the file ``{state}``.
        value: The regular expression whose only group is the part of the printed text that is
            ``{value}`` to `restore`; ``^`` and ``$`` in it match at each line.
        wanted: The ``{value}`` once the setting is set; empty when the value cannot be asked for.
        set: The command that sets the setting.
        restore: The command that sets the setting back to what was before.
    """

    what: str
    needs_root: bool
    each: str
    query: Command
    value: str
    wanted: str
    set: Command
    restore: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """Something that can be read: a thermal zone, or files.

    Attributes:
        name: What the sensor is on: ``cpu``, or the name of a power rail.
        quantity: The quantity that the sensor measures.
        zones: Types of thermal zones (``/sys/class/thermal/thermal_zone*/type``), which differ
            between kernels; the first type that exists is read.
        files: Globs of files with a number; the first glob that matches is read.
        times: Globs of files with a factor for the first number, e.g. a rail's current; may be
            empty.
        nvml: What NVIDIA's management library is asked, in place of zones and files: see
            `qsdnn_runtime.board.nvml.NAMES`.
        scale: The factor from the number that is read to the quantity's unit.
        total: Whether the power rail carries all of the board's power, so that other rails are
            parts of this one.
    """

    name: str
    quantity: Quantity
    zones: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    nvml: str = ""
    scale: float
    total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A kind of board.

    Attributes:
        name: The kind's name, as in `specs`, e.g. ``jetson-nano``.
        title: The maker's name for the board.
        run_on_hardware: Whether the commands and sensors below were tried on such a board.
        facts: What data sheets and reports say of the board.
        notes: What to know before setting the performance mode or trusting the sensors.
        sources: The sources of the performance mode and the sensors.
        performance: Settings, in the order of setting; they are restored in the opposite order.
        sensors: The sensors that can be read.
        max_temperature_c: The temperature at or below which the board measures: some degrees under
            the one where the board begins to slow down.
    """

    name: str
    title: str
    run_on_hardware: bool
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    sources: tuple[str, ...]
    performance: tuple[Setting, ...]
    sensors: tuple[Sensor, ...]
    max_temperature_c: float


@cache
def specs() -> Mapping[str, Spec]:
    """Every known kind of board by name, in alphabetical order."""
    found = (load_spec(path) for path in sorted(FOLDER.glob("*.toml")))
    return MappingProxyType({spec.name: spec for spec in found})


def load_spec(path: Path) -> Spec:
    """Reads a spec; the spec's name is that of the file.

    Raises:
        InputError: The spec is malformed; the message names the file and the key.
    """
    table = TomlTable.read(path)
    table.only(KEYS)
    return Spec(
        name=path.stem,
        title=table.text("title"),
        run_on_hardware=table.flag("run_on_hardware"),
        facts=tuple(map(_fact, table.tables("facts"))),
        notes=table.texts("notes", ()),
        sources=table.texts("sources", ()),
        performance=tuple(map(_setting, table.tables("performance"))),
        sensors=tuple(map(_sensor, table.tables("sensors"))),
        max_temperature_c=table.number("max_temperature_c", COOL_C),
    )


def _fact(table: TomlTable) -> Fact:
    table.only(("name", "value", "source"))
    return Fact(name=table.text("name"), value=table.text("value"), source=table.text("source"))


def _setting(table: TomlTable) -> Setting:
    table.only(("what", "needs_root", "each", "query", "value", "wanted", "set", "restore"))
    value = table.text("value", "")
    known = {"path"} if table.text("each", "") else {"state"}
    setting = Setting(
        what=table.text("what"),
        needs_root=table.flag("needs_root"),
        each=table.text("each", ""),
        query=_command(table.table("query"), known),
        value=value,
        wanted=table.text("wanted", ""),
        set=_command(table.table("set"), known),
        restore=_command(table.table("restore"), known | ({"value"} if value else set())),
    )
    _check_value(table, setting)
    return setting


def _check_value(table: TomlTable, setting: Setting) -> None:
    if not setting.value:
        return
    try:
        groups = re.compile(setting.value).groups
    except re.error as error:
        raise table.fail("value", f"not a regular expression: {error}") from error
    if groups != 1:
        raise table.fail("value", f"needs one group, has {groups}")


def _command(table: TomlTable, known: set[str]) -> Command:
    table.only(("run", "input"))
    command = Command(run=table.texts("run"), input=table.text("input", ""))
    if not command.run or not all(command.run):
        raise table.fail("run", "needs a program, and no argument may be empty")
    for key, texts in (("run", command.run), ("input", (command.input,))):
        for name in PLACEHOLDER.findall(" ".join(texts)):
            if name not in known:
                raise table.fail(key, f"{{{name}}} is not known here: {', '.join(sorted(known))}")
    return command


def _sensor(table: TomlTable) -> Sensor:
    table.only(("name", "quantity", "zones", "files", "times", "nvml", "scale", "total"))
    quantity = table.text("quantity")
    if quantity not in list(Quantity):
        raise table.fail("quantity", f"unknown '{quantity}'; known: {', '.join(Quantity)}")
    sensor = Sensor(
        name=table.text("name"),
        quantity=Quantity(quantity),
        zones=table.texts("zones", ()),
        files=table.texts("files", ()),
        times=table.texts("times", ()),
        nvml=table.text("nvml", ""),
        scale=table.number("scale"),
        total=table.flag("total", False),
    )
    if sum(map(bool, (sensor.zones, sensor.files, sensor.nvml))) != 1:
        raise table.fail("files", "a sensor has either files or zones or nvml")
    if sensor.nvml and sensor.nvml not in NAMES:
        raise table.fail("nvml", f"unknown '{sensor.nvml}'; known: {', '.join(NAMES)}")
    return sensor
