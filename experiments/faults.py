"""One long search over SSH, disturbed at random, beside the same search undisturbed.

    python experiments/faults.py                       # as root: 200 faults, about half an hour
    python experiments/faults.py --faults 20 --plans 24 --seed 1

A server and a relay of its own on loopback ports; the command as users type it, except that it
explores more plans (`--plans`), to last. Faults are drawn with a seed: kind, and the pause before
it. A kind that finds nothing to hit, e.g. no child, waits until there is something; and after two
that undo what is being measured the next of these waits until something was stored, for a plan
with which the board is lost again and again is rightly blamed for it. Where the command ends with
exit code 3, or was killed, the same command is started again.

Prints a row a kind: how often it was injected, how the search saw it (lost the board and went on,
tried a plan once more, ended with exit code 3 and went on when started again, or noticed nothing),
and what was measured and stored before it that was gone at the end. Then what a database trigger
wrote down: rows, rows written twice, rows ended badly; what is left on the board; and both plans
in a paired, interleaved measurement. Writes results/faults.json.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.integration.board.disk import Disk
from tests.integration.board.lab import Lab
from tests.integration.board.ledger import Ledger
from tests.integration.board.server import kill, wait_until

RESULTS = Path(__file__).parent / "results" / "faults.json"
# How often in a round of draws: those that take minutes until they are noticed come seldom.
WEIGHTS = {
    "agent killed": 3,
    "child killed": 3,
    "child stopped a while": 3,
    "child stopped for good": 0.2,
    "agent stopped a while": 3,
    "agent stopped for good": 0.3,
    "connection cut": 3,
    "connection held 1 s": 3,
    "board rebooted": 2,
    "disk full a while": 1,
    "host killed": 1,
}
# What the command tells on standard error, and which of its ends, mean; and what can cause that.
LOST, AGAIN, ENDED = "lost, went on", "tried once more", "exit code 3, started again"
SIGNS = {"was lost": LOST, "it is tried once more": AGAIN}
CHILDREN = ("child killed", "child stopped for good")
UNHEARD = ("child stopped a while", "agent stopped a while", "connection held 1 s")
DISK_MB = 1024
# Faults that undo what is being measured, between two measurements that are stored.
MOST_SETBACKS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--network", default="tiny-cnn")
    parser.add_argument("--engines", default="onnxruntime,blas")
    parser.add_argument("--plans", type=int, default=250, help="random plans to explore")
    parser.add_argument("--gap-s", type=float, default=1.0, help="mean pause between faults")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what cleans up
    with tempfile.TemporaryDirectory() as scratch:
        content = compare(Path(scratch), asked)
    content["command"] = " ".join(["python", *sys.argv])
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.exit(not content["sound"])


def compare(folder, asked):
    """The search without faults and with them, and their plans beside one another."""
    prelude = f"from qsdnn.tuning.start import initial_design; initial_design.MOST = {asked.plans}"
    prelude += "; initial_design.SURE = 0.0"
    with Lab(folder, prelude) as lab:
        network = lab.example(asked.network)
        words = ["search", network, "--board", "lab", "--engines", asked.engines, "--json"]
        words += ["--seed", asked.seed, "--budget", "9h"]
        calm = lab.qsdnn(*words, "--store", "calm.db", "-o", "calm.json").result()
        assert calm.code == 0, calm.err
        print(f"undisturbed: {brief(calm.json)}", flush=True)
        ledger = Ledger(lab.home / "faults.db")
        words += ["--store", ledger.path, "-o", "faults.json"]
        faults, found = disturb(lab, words, ledger, draws(asked), asked.faults)
        print(f"disturbed:   {brief(found)}", flush=True)
        calm_plan, plan = lab.home / "calm.json", lab.home / "faults.json"
        plans = paired(lab, calm_plan, plan)  # which also ends an agent that was stopped last
        content = account(lab, ledger, faults, found)
        content["plans"] = plans
        content |= {"undisturbed": calm.json, "disturbed": found}
    show(content)
    return content


def draws(asked):
    """Kinds and pauses without end; each round of draws has each kind as often as its weight."""
    chance = random.Random(asked.seed)
    kinds = [kind for kind in WEIGHTS if kind != "disk full a while" or os.getuid() == 0]
    while True:
        deck = []
        for kind in kinds:
            whole = int(WEIGHTS[kind])
            deck += [kind] * (whole + (chance.random() < WEIGHTS[kind] - whole))
        chance.shuffle(deck)
        for kind in deck:
            yield kind, chance.uniform(0.2, 1.8) * asked.gap_s, chance.uniform(1.0, 4.0)


def disturb(lab, words, ledger, drawn, count):
    """Runs a command to its end, with faults meanwhile.

    Returns:
        A row for each fault: ``kind``, ``seen``, ``rows`` that were stored then; and the document
        of the command.
    """
    rows = []
    with ExitStack() as stack:
        host = stack.enter_context(Host(lab, words, ledger))
        root = os.getuid() == 0
        disk = stack.enter_context(Disk(lab.server.cache, DISK_MB)) if root else None
        stack.callback(settle, lab)
        for kind, pause_s, lasts_s in drawn:
            host.live(pause_s)
            attribute(rows, host.news())
            if host.found or len(rows) == count:
                break
            while not (is_fair(kind, rows, ledger) and inject(kind, lab, host, disk, lasts_s)):
                host.live(0.2)
                if host.found:
                    break
            else:
                seen = "started again" if kind == "host killed" else "not noticed"
                rows.append({"kind": kind, "rows": ledger.rows(), "seen": seen})
                print(f"{len(rows):4} {kind:24} {rows[-1]['rows']:5} rows", flush=True)
        while not host.found:
            host.live(1.0)
        attribute(rows, host.news())
    return rows, host.found


def settle(lab):
    """Ends an agent that was stopped for good at last, as any next use of the board does."""
    lab.qsdnn("boards", "check", "lab").result()
    wait_until(lambda: not lab.left())


def is_fair(kind, rows, ledger):
    """Whether the search could have stored something between the last setbacks and this one."""
    stored = ledger.rows()
    setbacks = [row for row in rows if row["kind"] not in UNHEARD and row["rows"] == stored]
    return kind in UNHEARD or len(setbacks) < MOST_SETBACKS


def attribute(rows, news):
    """Writes down what the command saw with the last fault that can have caused it."""
    for seen in news:
        for row in reversed(rows):
            fits = (row["kind"] in CHILDREN) == (seen == AGAIN) and row["kind"] not in UNHEARD
            if row["seen"] == "not noticed" and (fits or seen == ENDED):
                row["seen"] = seen
                break


class Host:
    """A command that is started again until it ends well. A context manager."""

    def __init__(self, lab, words, ledger):
        self._lab, self._words, self._ledger = lab, words, ledger
        self.found, self.restarts, self._news = None, -1, []
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._running.kill()

    def start(self):
        self.restarts += 1
        self._before = self._ledger.writes()
        self._running, self._heard = self._lab.qsdnn(*self._words), 0

    def live(self, pause_s):
        """Lets it run; starts it again when it has ended without a plan."""
        end_s = time.monotonic() + pause_s
        while time.monotonic() < end_s and not self.found:
            time.sleep(0.1)
            if self._running.runs:
                continue
            ended = self._running.result()
            if ended.code == 0:
                self.found = {**ended.json, "restarts": self.restarts}
                self.found["written_by_the_last"] = self._ledger.writes() - self._before
                return
            assert ended.code == 3 and "Traceback" not in ended.err, (ended.code, ended.err)
            message = ended.json["error"]["message"].splitlines()[0]
            print(f"     exit code 3: {message}", flush=True)
            self._listen()
            self._news.append(ENDED)
            self.start()

    def kill(self):
        self._running.kill()
        self._listen()
        self.start()

    def news(self):
        """What it saw since it was last asked, in that order."""
        self._listen()
        news, self._news = self._news, []
        return news

    def _listen(self):
        text = self._running.err
        lines = text[self._heard : text.rfind("\n") + 1].splitlines()
        self._heard = text.rfind("\n") + 1
        self._news += [seen for line in lines for sign, seen in SIGNS.items() if sign in line]


def inject(kind, lab, host, disk, lasts_s):
    """Does it; whether there was something to do it to."""
    server, relay = lab.server, lab.relay
    name, _, manner = kind.partition(" ")
    if kind == "host killed":
        host.kill()
    elif name in ("agent", "child"):
        pids = server.agents() if name == "agent" else server.workers()
        if not pids:
            return False
        if manner == "killed":
            for pid in pids:
                kill(pid)
        else:
            stop(pids, lasts_s if manner == "stopped a while" else None)
    elif kind == "connection cut":
        relay.cut()
    elif kind == "connection held 1 s":
        relay.hold(1.0)
    elif kind == "board rebooted":
        server.stop()
        time.sleep(lasts_s)
        server.start()
    else:
        disk.fill()
        time.sleep(lasts_s)
        disk.free()
    return True


def stop(pids, lasts_s):
    """Stops processes, for so long or for good."""
    signal_all(pids, signal.SIGSTOP)
    if lasts_s is not None:
        threading.Timer(lasts_s, signal_all, (pids, signal.SIGCONT)).start()


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def account(lab, ledger, faults, found):
    """What was injected and seen, and whether anything was lost or doubled, or is left."""
    wait_until(lambda: not lab.left())
    counts, states = found["measurements"], ledger.states()
    scratch = lab.server.cache / "scratch"
    checks = {
        "rows": ledger.rows(),
        "states": states,
        "written_twice": ledger.doubled(),
        "lost": ledger.lost(),
        "ended_badly": ledger.unlucky(),
        "whole": ledger.is_whole(),
        "taken": counts["taken"],
        "cached": counts["cached"],
        "left_on_the_board": lab.left(),
        "scratch": [path.name for path in scratch.iterdir()] if scratch.exists() else [],
    }
    consistent = (
        counts["taken"] == found["written_by_the_last"]
        and counts["taken"] + counts["cached"] == checks["rows"]
    )
    wrong = [checks[k] for k in ("written_twice", "lost", "ended_badly", "left_on_the_board")]
    sound = not any(wrong) and consistent and checks["whole"] and found["verified"]
    kinds = {
        kind: {
            "injected": sum(fault["kind"] == kind for fault in faults),
            "seen": Counter(fault["seen"] for fault in faults if fault["kind"] == kind),
        }
        for kind in WEIGHTS
    }
    return {
        "injected": len(faults),
        "restarts": found["restarts"],
        "kinds": kinds,
        "checks": checks,
        "consistent": consistent,
        "sound": sound,
        "faults": faults,
    }


def paired(lab, *plans):
    """Plans beside one another: equal or not, and the ratio of the second to the first."""
    words = ["bench", *(plan.name for plan in plans), "--board", "lab", "--json"]
    ended = lab.qsdnn(*words).result()
    assert ended.code == 0, ended.err
    layers = [json.loads(plan.read_text())["layers"] for plan in plans]
    chosen = [[layer["primitive"] for layer in one] for one in layers]
    return {"equal": chosen[0] == chosen[1], "bench": ended.json}


def show(content):
    print(f"\n{'fault':24} {'injected':>8}  how the search saw it")
    for kind, row in content["kinds"].items():
        seen = ", ".join(f"{words} {number}" for words, number in row["seen"].most_common())
        print(f"{kind:24} {row['injected']:8}  {seen}")
    checks = content["checks"]
    again = f"the command was started again {content['restarts']} times"
    print(f"{'all':24} {content['injected']:8}  {again}")
    print(f"rows stored {checks['rows']}, written twice {len(checks['written_twice'])}, "
          f"lost {len(checks['lost'])}, ended badly {len(checks['ended_badly'])}; "
          f"taken {checks['taken']} + cached {checks['cached']}; "
          f"left on the board {len(checks['left_on_the_board'])}")  # fmt: skip
    plans = content["plans"]
    print(f"plans equal: {plans['equal']}; {plans['bench']}")
    print("sound" if content["sound"] else "NOT SOUND")


def brief(found):
    low, high = found["ci95_ms"]
    counts = found["measurements"]
    return (
        f"{found['measured_ms']:.3f} ms [{low:.3f}, {high:.3f}], verified {found['verified']}, "
        f"taken {counts['taken']}, cached {counts['cached']}, {found['wall_s']:.0f} s"
    )


if __name__ == "__main__":
    main()
