"""The command ``qsdnn``: one file a subcommand, imported when it is called.

Plug-ins add subcommands by entry points of the group ``qsdnn.commands``: click commands.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import sys
import time
from typing import Any, NoReturn

import click

import qsdnn
from qsdnn.cli.console import drop_output, flush_output, is_of_output, prepare_streams
from qsdnn.errors import QsdnnError, unknown
from qsdnn.plugin import registered

COMMANDS = {
    "search": "Find the fastest plan of a network on a board.",
    "replay": "Rebuild a plan, verify its outputs and measure it again.",
    "run": "Run a plan or a package on inputs from a file.",
    "bench": "Compare plans, packages and models, interleaved.",
    "quantize": "Tell which layers lose accuracy in less than fp32.",
    "analyze": "Show a network's layers and what they cost.",
    "package": "Build a plan into a folder or zip that runs alone.",
    "example": "Write a network with random weights to try things on.",
}
"""Every subcommand of the core and its line of help, known without importing the subcommand."""

GROUP = "qsdnn.commands"

OF_THE_MACHINE = {
    errno.EACCES, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENOMEM, errno.ENOSPC, errno.EROFS
}  # fmt: skip
"""The error numbers of a machine's limits, which are no defects of the program."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class Commands(click.Group):
    """A group that imports a subcommand only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands in the order of `COMMANDS`, then those of plug-ins."""
        return [*COMMANDS, *sorted(registered(GROUP).names - COMMANDS.keys())]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The subcommand of that name."""
        command: click.Command | None = None
        if name in COMMANDS:
            command = importlib.import_module(f"qsdnn.cli.{name}").command
        else:
            for point in registered(GROUP).select(name=name):
                command = point.load()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand of the arguments."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands, those of the core without importing them."""
        rows = dict(COMMANDS)
        for name in self.list_commands(ctx)[len(COMMANDS) :]:
            command = self.get_command(ctx, name)
            rows[name] = command.get_short_help_str(100) if command else ""
        with formatter.section("Commands"):
            formatter.write_dl(list(rows.items()))
        with formatter.section("Environment"):
            formatter.write_dl(list(ENVIRONMENT.items()))


ENVIRONMENT = {
    "QSDNN_STORE": "Database of measurements, without --store.  [~/.local/share/qsdnn/qsdnn.db]",
    "QSDNN_CONFIG": "Folder of the boards' addresses.  [~/.config/qsdnn]",
    "QSDNN_BOARD_CACHE": "On a board: folder of the runtime and of what was sent.  "
    "[~/.cache/qsdnn/board]",
    "QSDNN_BOARD_LOCK": "On a board: file that lets one host at a time measure.  [one for all]",
}
"""The environment variables, and what they are for."""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try it: qsdnn example kws1 && qsdnn search kws1.onnx",
)
@click.version_option(qsdnn.__version__, prog_name="qsdnn")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def group(debug: bool) -> None:
    """Finds the fastest way to run a neural network on a device.

    qsdnn measures on the device, learns with reinforcement which engine and algorithm suits each
    layer, and writes a plan that a small runtime executes.
    """


def main(arguments: list[str] | None = None) -> None:
    """The entry point: runs the command and ends the process with its exit code.

    Exit codes: 0 done; 1 failed; 2 usage or bad input; 3 board unreachable or lost; 4 no plan meets
    the constraints; 5 verification failed; 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    debug, as_json = "--debug" in words, "--json" in words
    prepare_streams()
    try:
        group.main(
            [word for word in words if word != "--debug"],
            "qsdnn",
            standalone_mode=False,
            obj=time.monotonic(),  # when it began: what is imported later is part of a budget
        )
        flush_output()
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", "what was measured is stored: the same command goes on from there",
              INTERRUPTED, as_json)  # fmt: skip
    except click.ClickException as error:
        if debug:
            raise
        context = getattr(error, "ctx", None)
        hint = f"see: {context.command_path} --help" if context else ""
        _fail(error.format_message(), hint, error.exit_code, as_json)
    except QsdnnError as error:
        if debug:
            raise
        _fail(error.message, error.hint, error.exit_code, as_json)
    except BrokenPipeError:
        drop_output()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _fail(*_complaint(error), 1, as_json)


def _complaint(error: Exception) -> tuple[str, str]:
    """The message for an error that no command expects, and a hint what to do about it."""
    if isinstance(error, OSError) and is_of_output(error):
        return f"cannot write the output: {error.strerror}", "print it elsewhere"
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", "mend that, then run the command again"
    hint = "this is a defect of qsdnn: run the command again with --debug and report what it says"
    return f"{type(error).__name__}: {error}", hint


def _fail(message: str, hint: str, exit_code: int, as_json: bool) -> NoReturn:
    """Prints what went wrong, and ends the process."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(hint, err=True)
    if as_json:
        content: dict[str, Any] = {"message": message, "hint": hint, "exit_code": exit_code}
        with contextlib.suppress(OSError):
            click.echo(json.dumps({"schema": "qsdnn.error/1", "error": content}))
    drop_output()
    sys.exit(exit_code)
