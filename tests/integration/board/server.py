"""A real OpenSSH server of its own on this machine, on a loopback port."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# A guard against waiting for ever, not a measure of anything.
PATIENCE_S = 60.0
CONFIG = """
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowTcpForwarding yes
SetEnv HOME={folder} PATH={python}:/usr/local/bin:/usr/bin:/bin {ours}
"""


def find_sshd() -> str | None:
    """It starts itself anew for each connection, so the path must be absolute."""
    return shutil.which("sshd", path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")


def make_key(path: Path) -> Path:
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


class Server:
    """A board: what its agent keeps is in its folder; its Python is the one of the tests.

    Args:
        folder: For its keys, its configuration and its cache.
        address: Where it listens.
        inside: What its commands are run by, e.g. ``ip netns exec NAME``.
    """

    def __init__(
        self, folder: Path, address: str = "127.0.0.1", inside: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.address = address
        self._inside = list(inside)
        self.cache = folder / "cache"
        self.user = getpass.getuser()
        self.user_key = make_key(folder / "user_key")
        make_key(folder / "host_key")
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        python = Path(sys.executable).parent
        ours = f"QSDNN_BOARD_CACHE={self.cache} QSDNN_BOARD_LOCK={folder}/lock"
        config = CONFIG.format(
            folder=folder, address=address, port=self.port, python=python, ours=ours
        )
        (folder / "sshd_config").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def name(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (self.folder / "log").open("ab")
        command = [*self._inside, find_sshd(), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with log:
            self._process = subprocess.Popen(command, stderr=log)
        wait_until(self._answers)

    def stop(self) -> None:
        """Ends the server and all sessions, as a reboot does."""
        assert self._process is not None
        for pid in [*self.processes(), self._process.pid]:
            kill(pid)
        self._process.wait()

    def change_host_key(self) -> None:
        self.stop()
        make_key(self.folder / "host_key")
        self.start()

    def processes(self) -> list[int]:
        """All that runs in sessions: sshd's own, agents and their children, also orphans."""
        assert self._process is not None
        inside = descendants(self._process.pid)
        agents = [pid for pid in named("server") if str(self.cache) in command_of(pid)]
        left = [pid for pid in named("server.worker") if str(self.folder) in environment_of(pid)]
        found = [*inside, *(pid for agent in agents for pid in (agent, *descendants(agent))), *left]
        return list(dict.fromkeys(found))

    def agents(self) -> list[int]:
        return [pid for pid in self.processes() if is_agent(pid)]

    def workers(self) -> list[int]:
        return [pid for pid in self.processes() if "qsdnn_runtime.server.worker" in command_of(pid)]

    def cut_sessions(self) -> None:
        """Kills the server's side of each connection; the agent under it is left to itself."""
        for pid in self.processes():
            if command_of(pid).startswith("sshd"):
                kill(pid)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "sshd ended"
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def named(module: str) -> list[int]:
    """Processes that run a module of the runtime, also those whose session has ended."""
    pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if f"qsdnn_runtime.{module}" in command_of(pid).split()]


def descendants(root: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            parents[int(folder.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def is_agent(pid: int) -> bool:
    """Whether a process is a measuring server; its children have another name."""
    return "qsdnn_runtime.server" in command_of(pid).split()


def command_of(pid: int) -> str:
    return _words(pid, "cmdline")


def environment_of(pid: int) -> str:
    return _words(pid, "environ")


def _words(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def are_gone(pids: Iterable[int]) -> bool:
    """Whether all have ended; one that nobody has waited for yet has."""
    return not any(command_of(pid) for pid in pids)


def wait_until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
