"""What is on the board while a search runs, and after it: as `ps` and `ss -ltnp` would show it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from .server import PATIENCE_S, are_gone, descendants, wait_until

COMMAND = [sys.executable, "-m", "qsdnn"]
LISTENS = "0A"  # net/tcp_states.h


def listening() -> set[str]:
    """TCP sockets of this machine that listen, as links in ``/proc/PID/fd`` name them."""
    rows = [
        row.split()
        for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if file.exists()
        for row in file.read_text().splitlines()[1:]
    ]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == LISTENS}


def sockets(pids: Iterable[int]) -> set[str]:
    """All that these processes have open."""
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                found.add(str(link.readlink()))
            except FileNotFoundError:
                continue
    return found


def mentioning(text: str) -> list[int]:
    """Processes of this machine whose command line or environment has a text in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in told:
            found.append(int(folder.name))
    return found


@pytest.fixture
def search(home, address, server):
    """Starts a search on the board, from a network that is there already."""
    (home / ".ssh/config").write_text(f"IdentityFile {server.user_key}\n")
    example = [*COMMAND, "example", "tiny-cnn", "-o", "net.onnx"]
    subprocess.run(example, cwd=home, check=True, stdout=subprocess.DEVNULL)
    words = ["search", "net.onnx", "--board", server.name, "--engines", "onnxruntime,blas"]
    words += ["--episodes", "50", "--budget", "5s", "--store", str(home / "store.db"), "--json"]
    with subprocess.Popen([*COMMAND, *words], cwd=home, stdout=-1, stderr=-1, text=True) as host:
        yield host
        host.kill()


@pytest.mark.parametrize("end", ["its own", "Ctrl-C", "kill -9"])
def test_nothing_of_ours_is_left_and_no_port_was_opened(search, server, end):
    before = listening()
    wait_until(lambda: server.workers() or search.poll() is not None)
    there = server.processes()
    here = [search.pid, *descendants(search.pid)]
    assert server.agents() and search.poll() is None, search.stderr.read()
    assert not sockets([*there, *here]) & (listening() - before)
    assert not sockets([*server.agents(), *server.workers(), *here]) & listening()
    if end == "Ctrl-C":
        search.send_signal(signal.SIGINT)
    elif end == "kill -9":
        search.kill()
    out, err = search.communicate(timeout=10 * PATIENCE_S)
    code = {"its own": 0, "Ctrl-C": 130, "kill -9": -signal.SIGKILL}[end]
    assert search.returncode == code and "Traceback" not in err, err
    if end == "Ctrl-C":
        assert "goes on from there" in json.loads(out)["error"]["hint"]

    wait_until(lambda: are_gone([*there, *here]))
    wait_until(lambda: not server.processes())
    assert not mentioning(str(server.cache))
    assert not list((server.cache / "scratch").iterdir())
