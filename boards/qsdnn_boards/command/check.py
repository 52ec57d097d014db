"""`qsdnn boards check`: whether a board can work, in one screen."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence

import click

from qsdnn import engine
from qsdnn.board import BoardInfo, open_board
from qsdnn.cli.console import stdout_console
from qsdnn.cli.options import json_option
from qsdnn.errors import BoardError
from qsdnn.plugin import registered
from qsdnn_boards.catalogue import AddressBook
from qsdnn_boards.setup.checkup import CheckVerdict, Finding, Fixes, probe_findings, survey_findings
from qsdnn_boards.setup.script import local_python, remote_python
from qsdnn_boards.setup.survey import survey
from qsdnn_boards.spec.spec import GENERIC, specs
from qsdnn_boards.ssh.address import Address, parse_address

SCHEMA = "qsdnn.boards.check/1"
COLORS = {CheckVerdict.OK: "green", CheckVerdict.WARNING: "yellow", CheckVerdict.MISSING: "red"}

EPILOG = """\b
Examples:
  qsdnn boards check jetson-nano
  qsdnn boards check pi@192.168.0.7:2222 --json
  qsdnn boards check local
\b
Exit codes: 0 it can work, 1 something is missing, 3 it cannot be reached.
"""


@click.command("check", epilog=EPILOG)
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Looks at a board: NAME, user@host[:port], or local."""
    info: BoardInfo | None = None
    fixes = _fixes(name)
    with open_board(name) as board:
        found = _reach(name)
        reached = all(finding.verdict is CheckVerdict.OK for finding in found)
        if reached:
            found += _survey(name, fixes)
            try:
                info = board.probe()
                found += probe_findings(info, _engine_names(), fixes)
            except BoardError as error:
                found.append(_missing("measuring server", error))
    _print_json(name, reached, info, found) if as_json else _print(name, found)
    if not reached:
        sys.exit(BoardError.exit_code)
    sys.exit(any(finding.verdict is CheckVerdict.MISSING for finding in found))


def _survey(name: str, fixes: Fixes) -> list[Finding]:
    """Findings from a board's files; none without a Python, which the probe then reports better."""
    entry = AddressBook().entries().get(name)
    address = _address(name)
    try:
        python = local_python() if address is None else remote_python(name, address)
        spec = specs()[GENERIC if entry is None else entry.spec]
        return survey_findings(survey(name, python, spec), fixes)
    except BoardError:
        return []


def _reach(name: str) -> list[Finding]:
    """Logs in once, where a login is needed: what fails after the login is a fault of the board."""
    address = _address(name)
    if address is None:
        return [Finding(item="reach", verdict=CheckVerdict.OK, found="this machine")]
    from qsdnn_boards.ssh.client import connect

    try:
        connection = connect(name, address)
    except BoardError as error:
        return [_missing("reach", error)]
    connection.close()
    return [
        Finding(item="reach", verdict=CheckVerdict.OK, found=str(connection.endpoint)),
        Finding(item="host key", verdict=CheckVerdict.OK, found="known, and unchanged"),
    ]


def _address(name: str) -> Address | None:
    entry = AddressBook().entries().get(name)
    if entry is not None:
        return entry.address
    return parse_address(name) if "@" in name else None


def _missing(item: str, error: BoardError) -> Finding:
    return Finding(item=item, verdict=CheckVerdict.MISSING, found=error.message, fix=error.hint)


def _engine_names() -> list[str]:
    return [point.name for point in registered(engine.GROUP)]


def _fixes(name: str) -> Fixes:
    """How to mend this board; `qsdnn boards setup` does not apply to this machine."""
    entry = AddressBook().entries().get(name)
    kind = GENERIC if entry is None else entry.spec
    setup = f"qsdnn boards setup {shlex.quote(name)} --engines {{engine}}"
    if _address(name) is None:
        perform = "--performance-mode sets it while measuring"
        return Fixes(install="pip install {package}", perform=perform)
    perform = f"see the performance mode of: qsdnn boards show {kind}"
    return Fixes(install=setup, perform=perform, performs=True)


def _print_json(name: str, reached: bool, info: BoardInfo | None, found: Sequence[Finding]) -> None:
    content = {
        "schema": SCHEMA,
        "board": {"name": name, "fingerprint": None if info is None else info.fingerprint},
        "reached": reached,
        "findings": [dataclasses.asdict(finding) for finding in found],
    }
    click.echo(json.dumps(content, indent=2))


def _print(name: str, found: Sequence[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"board {name}", title_justify="left", header_style="bold")
    for heading in ("item", "verdict", "found", "to do"):
        table.add_column(heading, overflow="fold")
    for finding in found:
        table.add_row(
            finding.item,
            f"[{COLORS[finding.verdict]}]{finding.verdict}",
            escape(finding.found),
            escape(finding.fix),
        )
    stdout_console().print(table)
