"""Every fault a board can have, caused by real means while a user's search runs, as a table.

    python experiments/fault_table.py                      # as root, about half an hour
    python experiments/fault_table.py "host key changed"   # this row anew, the others as they are

For each fault: a search of a small network over SSH as a user types it, through a relay; when it
measures and has stored something, the fault. What the command then told, its exit code, and what
was kept: measurements stored when the fault came, those stored when the command ended, and whether
the same command, after the cause was removed, went on from there and measured nothing twice. A
fault that can only be there from the beginning is. Writes results/faults.md.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.board.disk import Disk
from tests.integration.board.lab import Lab
from tests.integration.board.ledger import Ledger
from tests.integration.board.memory import MemoryLimit
from tests.integration.board.network import Cable
from tests.integration.board.server import make_key, wait_until

RESULTS = Path(__file__).parent / "results" / "faults.md"
WORDS = ("--engines", "onnxruntime", "--episodes", "50", "--budget", "1h", "--measurements", "16")
# What a search tells anyway.
USUAL = ("performance mode", "the search ends", "a plan is rejected")


def main():
    # Ignored in the background, it would be so in what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = sys.argv[1:] or [title for title, *_ in SCENARIOS]
    rows = {}
    if sys.argv[1:] and RESULTS.exists():
        lines = RESULTS.read_text(encoding="utf-8").splitlines()
        rows = {line[2:].split(" | ")[0]: line for line in lines if line.startswith("| ")}
    for title, how, scenario, options in SCENARIOS:
        if title in wanted:
            with tempfile.TemporaryDirectory() as scratch:
                cells = [title, how, *observe(Path(scratch), scenario, **options)]
            rows[title] = f"| {' | '.join(cells)} |"
            print(rows[title], flush=True)
            write(rows)


def write(rows):
    """All rows so far, in their order."""
    head = ["fault", "how it was caused", "what the user saw", "exit code", "what was kept"]
    lines = ["Made by `python experiments/fault_table.py`.", ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head))]
    lines += [rows[title] for title, *_ in SCENARIOS if title in rows]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def observe(folder, scenario, *, early=False, wire=False, cure=lambda scene: None):
    """The last three cells of a row."""
    cable = Cable() if wire else None
    with Lab(folder, "", cable) as lab:
        scene = Scene(lab, cable)
        if early:
            scenario(scene)
            scene.run = scene.run or scene.start()
        else:
            scene.start()
            scene.run.until(lambda: scene.ledger.rows() > 0 and lab.server.workers())
            scene.rows = scene.ledger.rows()
            scenario(scene)
        ended = scene.run.result()
        stored = scene.ledger.rows()
        cure(scene)
        kept = scene.kept(ended, stored)
        wait_until(lambda: not lab.left())
        scene.close()
    if cable is not None:
        cable.__exit__()
    return told(ended, scene), str(ended.code), kept


class Scene:
    """A lab with a search in it."""

    def __init__(self, lab, cable):
        self.lab, self.server, self.relay, self.cable = lab, lab.server, lab.relay, cable
        self.ledger = Ledger(lab.store)
        self.board, self.rows, self.run, self.disk, self.limit = "lab", 0, None, None, None
        self.killed = False
        self._words = ["search", lab.example("tiny-cnn"), *WORDS, "--json"]

    def start(self):
        self.run = self.lab.qsdnn(*self._words, "--board", self.board)
        return self.run

    def kept(self, ended, stored):
        """What became of the measurements; a search that did not end well is run again."""
        bad = sum(number for state, number in self.ledger.states().items() if state != "ok")
        if ended.code == 0:
            text = f"{self.rows} stored, all there at the end, {stored} in all"
        else:
            again = self.start().result()
            assert again.code == 0, again.err
            counts = again.json["measurements"]
            text = f"{stored} stored; the same command went on: {counts['cached']} known, "
            text += f"{counts['taken']} more measured"
        assert not self.ledger.doubled() and not self.ledger.lost() and self.ledger.is_whole()
        return text + (f"; {bad} recorded as failed" if bad else "")

    def close(self):
        if self.disk is not None:
            self.disk.__exit__()
        if self.limit is not None:
            self.limit.__exit__()


def told(ended, scene):
    """What it said, for a cell of a table."""
    lines = [line for line in ended.notes if not line.startswith(USUAL)]
    if ended.code != 0 and not scene.killed:
        error = ended.json["error"]
        lines += [f"error: {error['message']}", error["hint"]]
    text = "<br>".join(line.replace("|", "\\|") for line in lines) or "nothing"
    ours = ((str(scene.server.folder), "~"), (f" on {socket.gethostname()} ", " on desk "))
    for words, name in ours:
        text = text.replace(words, name)
    return text.replace("\n", "<br>")


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


def stop_for(seconds, pids):
    signal_all(pids, signal.SIGSTOP)
    if seconds:
        threading.Timer(seconds, signal_all, (pids, signal.SIGCONT)).start()


def kill_agent(scene):
    signal_all(scene.server.agents(), signal.SIGKILL)


def cut_for_good(scene):
    scene.relay.refuse()
    scene.relay.cut()


def reboot(scene):
    scene.server.stop()
    time.sleep(5)
    scene.server.start()


def pull(scene, seconds):
    scene.cable.pull()
    if seconds:
        threading.Timer(seconds, scene.cable.plug).start()


def small_disk(scene):
    scene.disk = Disk(scene.server.cache, 32)


def full_disk(scene):
    """The runtime is there, and the artifacts are not."""
    scene.disk = Disk(scene.server.cache, 200)
    assert scene.lab.qsdnn("boards", "check", "lab").result().code == 0
    wait_until(lambda: not scene.lab.left())
    scene.disk.fill(leave_mb=50)


def fill_later(scene):
    """Nothing more can be written, from when it measures."""
    scene.disk = Disk(scene.server.cache, 200)
    scene.start()
    scene.run.until(lambda: scene.ledger.rows() > 0)
    scene.rows = scene.ledger.rows()
    scene.disk.fill()


def grow_disk(scene):
    scene.disk.__exit__()
    scene.disk = None


def take_memory(scene, seconds):
    scene.limit = MemoryLimit(20)
    for pid in scene.server.agents():
        scene.limit.hold(pid)
    if seconds:
        threading.Timer(seconds, scene.limit.lift).start()


def change_user_key(scene):
    other = make_key(scene.server.folder / "other").with_suffix(".pub")
    shutil.copy(other, scene.server.folder / "authorized_keys")
    scene.server.cut_sessions()


def restore_user_key(scene):
    key = scene.server.user_key.with_suffix(".pub")
    shutil.copy(key, scene.server.folder / "authorized_keys")


def other_python(scene, python):
    scene.board = "other"
    scene.lab.accept("other", "--python", python)


def no_numpy(scene):
    venv = scene.server.folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    other_python(scene, venv / "bin/python3")


def right_python(scene):
    scene.board = "lab"


def second_search(scene):
    """The first goes on; the row is of the second."""
    scene.first = scene.run
    scene.start()


def end_first(scene):
    assert scene.first.result().code == 0


def kill_host(scene):
    scene.killed = True
    scene.run.kill()


SCENARIOS = [
    ("engine crashed", "SIGSEGV to the child that measures",
     lambda s: signal_all(s.server.workers(), signal.SIGSEGV), {}),
    ("engine hung", "SIGSTOP to the child, for good",
     lambda s: stop_for(0, s.server.workers()), {}),
    ("child stopped for 3 s", "SIGSTOP, SIGCONT",
     lambda s: stop_for(3, s.server.workers()), {}),
    ("agent killed", "kill -9", kill_agent, {}),
    ("agent stopped for 10 s", "SIGSTOP, SIGCONT",
     lambda s: stop_for(10, s.server.agents()), {}),
    ("agent stopped for good", "SIGSTOP", lambda s: stop_for(0, s.server.agents()), {}),
    ("memory short for a while", "a cgroup of 20 MB around the agent for 6 s; the OOM killer",
     lambda s: take_memory(s, 6), {}),
    ("session killed", "kill -9 of the server's end of it",
     lambda s: s.server.cut_sessions(), {}),
    ("connection silent for 1 s", "the relay holds all that passes",
     lambda s: s.relay.hold(1.0), {}),
    ("connection cut", "the relay closes it", lambda s: s.relay.cut(), {}),
    ("connection cut for good", "the relay closes it, and takes no other", cut_for_good,
     {"cure": lambda s: s.relay.listen()}),
    ("cable pulled for 5 s", "network namespace, its link set down and up",
     lambda s: pull(s, 5), {"wire": True}),
    ("cable pulled for good", "network namespace, its link set down",
     lambda s: pull(s, 0), {"wire": True, "cure": lambda s: s.cable.plug()}),
    ("board rebooted", "sshd and all its processes killed, started after 5 s", reboot, {}),
    ("disk full: runtime", "its cache is a tmpfs of 32 MB", small_disk,
     {"early": True, "cure": grow_disk}),
    ("disk full: artifacts", "a tmpfs with 50 MB left", full_disk,
     {"early": True, "cure": lambda s: s.disk.free()}),
    ("disk full: while it measures", "a tmpfs that is filled to the last byte", fill_later,
     {"early": True, "cure": lambda s: s.disk.free()}),
    ("host key changed", "sshd started anew with another key",
     lambda s: s.server.change_host_key(), {"cure": lambda s: s.lab.accept()}),
    ("login refused", "another key in authorized_keys, the session killed", change_user_key,
     {"cure": restore_user_key}),
    ("Python missing", "`--python /nowhere/python3`",
     lambda s: other_python(s, "/nowhere/python3"), {"early": True, "cure": right_python}),
    ("numpy missing", "a virtual environment without it", no_numpy,
     {"early": True, "cure": right_python}),
    ("two searches at once", "the same command a second time", second_search, {"cure": end_first}),
    ("host killed", "kill -9 of the command", kill_host, {}),
    ("host interrupted", "Ctrl-C", lambda s: s.run.interrupt(), {}),
]  # fmt: skip


if __name__ == "__main__":
    main()
