"""`qsdnn boards`: subcommands, each imported when it is called."""

from __future__ import annotations

import importlib

import click

from qsdnn.errors import unknown

COMMANDS = {
    "list": "List known boards and their addresses.",
    "show": "Show what is known of a board.",
    "add": "Give a board an address.",
    "remove": "Forget a board's address.",
    "check": "See whether a board can work.",
    "setup": "Install numpy and engines on a board.",
}
"""Every subcommand with one line of help, which is known without importing the subcommand."""

# A module of this package named `list` would replace the builtin `list` in this file.
HOMES = {"list": ("listing", "command"), "remove": ("listing", "remove")}
"""The module and the name of a subcommand, where it is not `command` of the module of its name."""

EPILOG = """\b
Examples:
  qsdnn boards add jetson-nano --host 192.168.0.7 --user nvidia
  qsdnn boards check jetson-nano
  qsdnn boards setup jetson-nano
  qsdnn search kws1.onnx --board jetson-nano
"""


class Subcommands(click.Group):
    """A group that imports a subcommand only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The subcommand of that name."""
        if name not in COMMANDS:
            return None
        module, attribute = HOMES.get(name, (name, "command"))
        found: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the subcommand; suggests a similar name when there is none of that name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown("command", f"boards {args[0]}", [f"boards {name}" for name in COMMANDS])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    "boards", cls=Subcommands, epilog=EPILOG, short_help="List, add, check and set up boards."
)
def command() -> None:
    """Boards: the machines that measure and run.

    `local` is this machine. Others are reached over SSH: by a name from the address book, which
    these commands keep, or directly as user@host[:port].
    """
