"""A board behind sshd and a relay, and a user on this machine who types commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from .network import Cable
from .relay import Relay
from .server import Server, descendants, kill, wait_until

# A user's home decides, not where the tests run.
NOT_OURS = ("SSH_AUTH_SOCK", "QSDNN_CONFIG", "QSDNN_BOARD_CACHE", "XDG_CONFIG_HOME")
# Seconds where users have minutes; nothing else is another.
IMPATIENT = """
from qsdnn.measure import recovery
from qsdnn_boards.link import client
from qsdnn_boards.ssh import channel, client as ssh_client
recovery.PAUSES_S = (0.5, 1.0, 1.0)
ssh_client.PAUSES_S = ()
client.SILENCE_S = client.HOST_SILENCE_S = 6.0
client.PING_EVERY_S = 0.5
channel.GRACE_S = 1.0
"""


class Lab:
    """A home, a server, and a relay between them. A context manager.

    Args:
        folder: For all files.
        prelude: Lines of Python before each command.
        cable: Leads to the server, in place of the relay.
    """

    def __init__(self, folder: Path, prelude: str = IMPATIENT, cable: Cable | None = None) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "board").mkdir()
        way = () if cable is None else (cable.address, cable.inside)
        self.server = Server(folder / "board", *way)
        self.relay = Relay(self.server.port)
        self._place = (self.server.address, self.server.port if cable else self.relay.port)
        self.store = self.home / "store.db"
        text = f"{prelude}\nfrom qsdnn.cli import main\nmain()\n"
        self._command = [sys.executable, *(["-c", text] if prelude else ["-m", "qsdnn"])]
        kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        ours = {"HOME": str(self.home), "QSDNN_STORE": str(self.store)}
        self.environment: Mapping[str, str] = {**kept, **ours}
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.refuse()
        self.relay.cut()
        self.server.stop()

    def accept(self, name: str = "lab", *more: str | Path) -> None:
        """Adds the board to the user's, or accepts its new host key."""
        host, port = self._place
        words = ["--host", host, "--port", port, "--user", self.server.user]
        words += ["--identity-file", self.server.user_key, "--accept-host-key", *more]
        ended = self.qsdnn("boards", "add", name, *words).result()
        assert ended.code == 0, ended.err

    def qsdnn(self, *words: str | int | Path) -> Running:
        """Starts a command."""
        return Running([*self._command, *map(str, words)], self.home, self.environment)

    def example(self, network: str) -> str:
        """Writes a network; the name of its file."""
        assert self.qsdnn("example", network, "-o", f"{network}.onnx").result().code == 0
        return f"{network}.onnx"

    def left(self) -> list[int]:
        """Processes of ours on the board."""
        return [*self.server.agents(), *self.server.workers()]


class Ended:
    """What a command left: exit code, standard output and standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> dict[str, Any]:
        """The document it printed."""
        return dict(json.loads(self.out))

    @property
    def notes(self) -> list[str]:
        """What it told while it ran."""
        lines = self.err.splitlines()
        return [line.removeprefix("note: ") for line in lines if line.startswith("note: ")]


class Running:
    """A command that runs, heard as it speaks.

    Args:
        command: All words.
        folder: Where.
        environment: All of it.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        # Nothing wraps its lines: a note is one.
        environment = {**environment, "COLUMNS": "1000"}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=-1, stderr=-1, text=True
        )
        self._heard: dict[str, str] = {"out": "", "err": ""}
        streams = {"out": self._process.stdout, "err": self._process.stderr}
        self._ears = [
            threading.Thread(target=self._listen, args=item, daemon=True)
            for item in streams.items()
        ]
        for ear in self._ears:
            ear.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def err(self) -> str:
        """What it has said so far on standard error."""
        return self._heard["err"]

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def until(self, true) -> None:
        """Waits for something that happens while it runs."""
        wait_until(lambda: true() or not self.runs)
        assert self.runs, f"it ended: {self._heard}"

    def interrupt(self) -> None:
        """Types Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kills it, and all it started here."""
        if self.runs:
            for pid in [*descendants(self.pid), self.pid]:
                kill(pid)
        self.result()

    def result(self) -> Ended:
        """What it left, once it has ended."""
        self._process.wait()
        for ear in self._ears:
            ear.join()
        return Ended(self._process.returncode, self._heard["out"], self._heard["err"])

    def _listen(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._heard[name] += line
