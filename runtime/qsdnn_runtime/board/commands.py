"""Runs programs of the board that tell its settings or change them.

A host also runs this file, and those that import it, on boards that have no runtime (see
`qsdnn_boards.setup.script`): the file needs nothing but the standard library, and no relative
import.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Dict, List, Sequence

# The time limit of a program: nvpmodel and jetson_clocks take seconds; a program that hangs must
# not keep the board for ever.
LIMIT_S = 20.0
# Folders with such programs that are not in the PATH of a login over SSH.
FURTHER_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
SUDO = ("sudo", "-n", "--")
OUTPUT_BYTES = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """The outcome of a program.

    Attributes:
        text: The program's standard output.
        error: Why the program failed, in one line; empty when it did not fail.
    """

    text: str
    error: str = ""


def run_program(
    arguments: Sequence[str], text: str = "", *, as_root: bool = False, limit_s: float = LIMIT_S
) -> Outcome:
    """Runs a program to its end; no shell reads the arguments, and no terminal is asked.

    Args:
        arguments: The program's name, then its arguments.
        text: The program's standard input.
        as_root: Whether to run the program as root: through ``sudo``, which must not ask for a
            password, unless this process is root's.
        limit_s: The time in seconds after which the program is killed.
    """
    command = [*SUDO, *arguments] if as_root and os.geteuid() else list(arguments)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out:
        given.write(text.encode())
        given.seek(0)
        with tempfile.TemporaryFile() as errors:
            try:
                # Files, not pipes: a daemon that the program starts would keep a pipe open.
                process = subprocess.Popen(
                    command,
                    stdin=given,
                    stdout=out,
                    stderr=errors,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome("", "%s: %s" % (command[0], error.strerror))
            problem = _wait(process, limit_s)
            errors.seek(0)
            said = errors.read(OUTPUT_BYTES).decode(errors="replace").strip()
        out.seek(0)
        output = out.read(OUTPUT_BYTES).decode(errors="replace")
    if problem and said:
        problem = "%s: %s" % (problem, said.splitlines()[-1])
    return Outcome(output, "%s %s" % (" ".join(command), problem) if problem else "")


def _wait(process: "subprocess.Popen[bytes]", limit_s: float) -> str:
    """Waits for a process to end; returns how it failed, or an empty text when it did not."""
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        with suppress(OSError):  # the process may be gone, or belong to root
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        return "did not end within %g s" % limit_s
    return "ended with code %d" % code if code else ""


def _environment() -> Dict[str, str]:
    """This process's environment, with English messages and without the runtime's modules."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    path: List[str] = [*filter(None, [kept.get("PATH", "/usr/bin:/bin")]), FURTHER_PATH]
    return {**kept, "PATH": ":".join(path), "LC_ALL": "C"}
