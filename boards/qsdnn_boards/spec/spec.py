"""What is known of a kind of board before one is reached: facts, performance mode, sensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType

from .toml_table import TomlTable

FOLDER = Path(__file__).parents[1] / "specs"
GENERIC = "generic-linux"
"""The spec of a board of which nothing is known."""

KEYS = (
    *("title", "run_on_hardware", "facts", "notes", "sources"),
    *("performance", "sensors", "max_temperature_c"),
)
# The kernel slows most boards down from 80 °C on; a group warms a board up by some degrees.
COOL_C = 70.0
PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Quantity(StrEnum):
    """What a sensor measures, and the unit it is given in."""

    TEMPERATURE_C = "temperature_c"
    POWER_MW = "power_mw"
    ENERGY_J = "energy_j"
    """Counts up: power is its difference over time."""
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
        input: What is written to its standard input; may hold the same.
    """

    run: tuple[str, ...]
    input: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of the performance mode: how to ask for it, set it, and set it back.

    Attributes:
        what: For people.
        needs_root: Whether its commands do.
        each: A glob: all is done for each file that matches, which is ``{path}`` then. Empty: it
            is done once.
        query: Prints what holds now, or keeps it in the file ``{state}``.
        value: What of the printed text is ``{value}`` to `restore`: the only group of this regular
            expression, which is searched for with ``^`` and ``$`` at each line.
        wanted: ``{value}`` once it is set; empty when that cannot be asked.
        set: Sets it.
        restore: Sets it back to what was before.
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
        name: Of what: ``cpu``, or the name of a power rail.
        quantity: What it measures.
        zones: Types of thermal zones (``/sys/class/thermal/thermal_zone*/type``), which differ
            between kernels; the first that exists is it.
        files: Globs of files with a number; the first that exists is it.
        times: The same for a second number, which the first is multiplied by (a rail's current).
        scale: What the number in the file is multiplied by to give the quantity's unit.
        total: Whether the rail carries all of the board's power, so that the others are parts of
            it.
    """

    name: str
    quantity: Quantity
    zones: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    scale: float
    total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A kind of board.

    Attributes:
        name: As in `specs`, e.g. ``jetson-nano``.
        title: Its maker's name for it.
        run_on_hardware: Whether the commands and sensors below were tried on one.
        facts: What is written of it.
        notes: What to know before its performance mode is set, or its sensors are believed.
        sources: Where the performance mode and the sensors come from.
        performance: Settings, in the order they are set; restored in the opposite order.
        sensors: What can be read.
        max_temperature_c: It measures at this temperature or below: some degrees under where it
            begins to slow down.
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
    """Reads a spec; its name is that of the file.

    Raises:
        InputError: It is malformed; the message names the file and the key.
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
    table.only(("name", "quantity", "zones", "files", "times", "scale", "total"))
    quantity = table.text("quantity")
    if quantity not in list(Quantity):
        raise table.fail("quantity", f"unknown '{quantity}'; known: {', '.join(Quantity)}")
    sensor = Sensor(
        name=table.text("name"),
        quantity=Quantity(quantity),
        zones=table.texts("zones", ()),
        files=table.texts("files", ()),
        times=table.texts("times", ()),
        scale=table.number("scale"),
        total=table.flag("total", False),
    )
    if bool(sensor.zones) == bool(sensor.files):
        raise table.fail("files", "a sensor has either files or zones")
    return sensor
