"""An emulated arm64 board with an SSH server on a loopback port.

``python -m tests.integration.arm64.board bookworm`` runs one until Ctrl-C, and prints how to reach
it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from tests.integration.board.server import are_gone, descendants, make_key, wait_until

from .root import HERE, RELEASES, USER, RootError, apart, cache_folder, debian_root, locked, remove

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey /etc/qsdnn-ssh/host_key
AuthorizedKeysFile /etc/qsdnn-ssh/user_key.pub
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
SetEnv QEMU_CPU=cortex-a57
"""
# As Linux describes a core of a Cortex-A57, which engines look up.
CORE = """
processor\t: {number}
BogoMIPS\t: 125.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd07
CPU revision\t: 0
"""
# What the board's pip must know to get through this machine's network.
PIP = """
[global]
cert = /etc/ssl/certs/ca-certificates.crt
{index}
"""


class EmulatedBoard:
    """A running board: a Debian root, and what was written since it was started over it.

    Use it as a context manager: at its end nothing of the board is left, as when this process is
    killed; a folder that is left then is removed when the next board starts.

    Args:
        release: See `debian_root`.

    Raises:
        RootError: There can be none on this machine.
    """

    user = USER

    def __init__(self, release: str) -> None:
        self._root = debian_root(release)
        with locked(cache_folder() / "lock"):
            remove_abandoned()
            self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache_folder()))
            self._lock = hold(self._folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.user_key = self._configure()
        with (self._folder / "log").open("wb") as log:
            boot = apart([str(HERE / "boot.sh"), str(self._root), str(self._folder)])
            self._process = subprocess.Popen(boot, stderr=log)
        try:
            wait_until(self._answers)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> EmulatedBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def processes(self) -> list[int]:
        """All of the board's, as this machine numbers them."""
        return descendants(self._process.pid)

    def stop(self) -> None:
        pids = self.processes()
        self._process.kill()
        self._process.wait()
        wait_until(lambda: are_gone(pids))
        remove(self._folder)
        self._lock.close()

    def _configure(self) -> Path:
        ssh = self._folder / "ssh"
        ssh.mkdir()
        for name in ("host_key", "user_key"):
            make_key(ssh / name)
        (ssh / "sshd_config").write_text(CONFIG.format(port=self.port))
        cores = (CORE.format(number=number) for number in range(os.cpu_count() or 1))
        (self._folder / "cpuinfo").write_text("".join(cores).lstrip())
        asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        index = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        (self._folder / "pip.conf").write_text(
            PIP.format(index=f"index-url = {index}" * bool(index))
        )
        return (ssh / "user_key").rename(self._folder / "user_key")

    def _answers(self) -> bool:
        log = self._folder / "log"
        assert self._process.poll() is None, f"the board does not boot:\n{log.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def hold(folder: Path) -> IO[str]:
    """Says that a folder is in use, as long as what this returns is open."""
    file = (folder / "lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def remove_abandoned() -> None:
    """Removes what boards left behind whose processes were killed."""
    for folder in cache_folder().glob("run-*"):
        try:
            with hold(folder):
                remove(folder)
        except BlockingIOError:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.integration.arm64.board", description=__doc__
    )
    parser.add_argument("release", choices=RELEASES)
    try:
        with EmulatedBoard(parser.parse_args().release) as board:
            print(
                f"qsdnn boards add lab --host 127.0.0.1 --port {board.port} --user {board.user} "
                f"--identity-file {board.user_key}",
                flush=True,
            )
            for ending in (signal.SIGINT, signal.SIGTERM):
                signal.signal(ending, lambda *_: None)
            signal.pause()
    except RootError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
