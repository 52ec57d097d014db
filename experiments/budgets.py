"""Does a search take the time it was given, and how much memory does it take for that?

    python experiments/budgets.py                              # 8 networks, 3 budgets; memory of 2
    python experiments/budgets.py --networks vgg19 --budgets 20
    python experiments/budgets.py --table                      # only print the results again

`qsdnn search --budget` on an empty store, with each budget, and beside it what memory the processes
take: every 50 ms the kernel is asked for the most that each of them has had (VmHWM). `worker` is
the largest process in which engines ran, `host` the search itself, `all` the most that all the
processes had at one time. alexnet and zfnet512 (of the onnx package, with random weights), whose
fully connected layers are large, get the shortest budget only.

A search holds its budget where it takes at most 15 % longer; than `least`, where it says at once
that it cannot take less. A worker is small enough where it takes at most three times the model's
file and 400 MB, or 1750 MB. The exit code is 1 where that is not kept.
`mixed` counts the mixed plans that were measured. A second table tells what the time went into, and
after how many seconds a search had its first plan, its first mixed plans, and its best.

Rows are written to results/budgets.json as they come: interrupted, the same command goes on with
those that are missing; `--anew` begins again. About 40 minutes on two quiet cores.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
from audit import commit, qsdnn, read, write
from busy import quiet
from onnx import numpy_helper

from qsdnn.tuning.stopwatch import Mark, Part

NETWORKS = (
    *("kws9", "kws1", "shufflenet-v2", "mobilenet-v2", "squeezenet", "resnet18", "resnet50"),
    "vgg19",
)
MEMORY = ("alexnet", "zfnet512")
RESULTS = Path(__file__).parent / "results" / "budgets.json"
OVER = 1.15
WEIGHTS, BESIDES_MB, LEAST_MB = 3, 400, 1750
EVERY_S = 0.05
LEAST = r"this search takes about (\d+) s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--budgets", nargs="+", type=int, default=(20, 60, 180), metavar="S")
    parser.add_argument("--memory", nargs="*", default=MEMORY, help="with the shortest budget only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patience", type=float, default=60.0, metavar="S", help="to be quiet")
    parser.add_argument("--folder", type=Path, default=Path("runs/budgets"))
    parser.add_argument("--anew", action="store_true", help="forget the results there are")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    rows = {} if asked.anew else read(asked.output)
    todo = [(network, budget_s) for network in asked.networks for budget_s in asked.budgets]
    todo += [(n, min(asked.budgets)) for n in asked.memory if n not in asked.networks]
    todo = [(n, s) for n, s in todo if f"{n}, {s} s" not in rows and not asked.table]
    for done, (network, budget_s) in enumerate(todo):
        rest_s = sum(seconds for _, seconds in todo[done:])
        print(f"{rest_s / 60:.0f} minutes left: {network}, {budget_s} s", file=sys.stderr)
        rows[f"{network}, {budget_s} s"] = row = study(network, budget_s, asked)
        print(line(row), flush=True)
        write(asked.output, rows)
    table(rows)
    if any(not (row["in_time"] and row["in_memory"]) for row in rows.values()):
        raise SystemExit(1)


def study(network, budget_s, asked):
    asked.folder.mkdir(parents=True, exist_ok=True)
    model, store = asked.folder / f"{network}.onnx", asked.folder / f"{network}-{budget_s}.db"
    if not model.exists():
        make(network, model)
    for suffix in ("", "-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)
    before = quiet(patience_s=asked.patience)
    words = ["search", model.name, "--budget", f"{budget_s}s", "--threads", str(asked.threads)]
    words += ["--store", store.name, "-o", f"{network}-{budget_s}.json", "--wait", "30m", "--json"]
    start_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "qsdnn", *words],
        cwd=asked.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Memory(process.pid) as memory:
        out, told = process.communicate()
    wall_s = time.monotonic() - start_s
    if process.returncode:
        raise SystemExit(f"{network}, {budget_s} s: exit code {process.returncode}: {told}")
    found = re.search(LEAST, " ".join(told.split()))
    least_s = float(found[1]) if found else None
    weights_mb = model.stat().st_size / 1e6
    limit_mb = max(WEIGHTS * weights_mb + BESIDES_MB, LEAST_MB)
    return {
        "network": network,
        "budget_s": budget_s,
        "threads": asked.threads,
        "commit": commit(),
        "quiet_before": before,
        "wall_s": wall_s,
        "least_s": least_s,
        "in_time": wall_s <= OVER * max(budget_s, least_s or 0.0),
        "weights_mb": weights_mb,
        "worker_mb": memory.worker_mb,
        "host_mb": memory.host_mb,
        "all_mb": memory.all_mb,
        "in_memory": memory.worker_mb <= limit_mb,
        "search": json.loads(out),
    }


def make(network, path):
    """An example, or a network of the onnx package with random weights in place of none."""
    if network != "zfnet512":
        qsdnn(path.parent, "example", network, "-o", path.name)
        return
    light = Path(onnx.__file__).parent / f"backend/test/data/light/light_{network}.onnx"
    model = onnx.load(light)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rng = np.random.default_rng(0)
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        bound = np.sqrt(6 / max(1, np.prod(shape[1:])))
        weight = rng.uniform(-bound, bound, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
        model.graph.node.remove(node)
    onnx.save(model, path)


class Memory:
    """The most memory that a search's processes take, in MB. A context manager."""

    def __init__(self, pid):
        self.worker_mb = self.host_mb = self.all_mb = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(EVERY_S):
            together_mb = 0.0
            for pid in family(self._pid):
                with suppress(OSError, KeyError):  # it has ended
                    now_mb, most_mb = memory_of(pid)
                    together_mb += now_mb
                    if pid == self._pid:
                        self.host_mb = max(self.host_mb, most_mb)
                    elif (
                        b"qsdnn_runtime.server.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
                    ):
                        self.worker_mb = max(self.worker_mb, most_mb)
            self.all_mb = max(self.all_mb, together_mb)


def family(pid):
    """A process and all it started that still run."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def memory_of(pid):
    """Resident now, and at the most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {name: value for name, _, value in (text.partition(":") for text in lines)}
    return tuple(int(sizes[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))


HEAD = (
    f"{'network':14} {'budget':>7} {'least':>6} {'wall':>8} {'ratio':>6}  "
    f"{'plans':>5} {'mixed':>5}  {'file MB':>8} {'worker':>7} {'/ file':>6} {'limit':>7} "
    f"{'host':>6} {'all':>7}  ended because"
)


def table(rows):
    print()
    print(HEAD)
    for row in rows.values():
        print(line(row))
    for name, row in rows.items():
        if row["search"]["advice"]:
            print(f"{name}: {row['search']['advice']}")
    spending(rows)
    late = sum(not row["in_time"] for row in rows.values())
    large = sum(not row["in_memory"] for row in rows.values())
    print(f"{len(rows)} searches, {late} took too long, {large} too much memory")
    restless = sum(row["quiet_before"] > 0.15 for row in rows.values())
    print(f"* something else ran: {restless}" if restless else "nothing else ran")


PARTS = [part.value for part in Part]
MARKS = [mark.value for mark in Mark]


def spending(rows):
    """What the time of each search went into, and when it had reached what, in seconds."""
    print(f"\n{'network':14} {'budget':>7}", *(f"{name:>11}" for name in PARTS + MARKS))
    for row in rows.values():
        spent, reached = row["search"].get("spent_s", {}), row["search"].get("reached_s", {})
        cells = [spent.get(part, 0.0) for part in PARTS] + [reached.get(mark) for mark in MARKS]
        texts = (f"{'' if cell is None else format(cell, '.1f'):>11}" for cell in cells)
        print(f"{row['network']:14} {row['budget_s']:6}s", *texts)
    print()


def line(row):
    found, plans = row["search"], row["search"]["measurements"]
    ratio = f"{row['wall_s'] / row['budget_s']:.2f}" + ("" if row["in_time"] else "!")
    limit_mb = max(WEIGHTS * row["weights_mb"] + BESIDES_MB, LEAST_MB)
    least = f"{row['least_s']:.0f}s" if row["least_s"] else ""
    times = f"{row['worker_mb'] / row['weights_mb']:.1f}" if row["weights_mb"] > 1 else ""
    return (
        f"{row['network'] + ('*' if row['quiet_before'] > 0.15 else ''):14} "
        f"{row['budget_s']:6}s {least:>6} {row['wall_s']:7.1f}s {ratio:>6}  "
        f"{plans['taken']:5} {plans['mixed_plans']:5}  {row['weights_mb']:8.1f} "
        f"{row['worker_mb']:7.0f} {times:>6} "
        f"{limit_mb:6.0f}{' ' if row['in_memory'] else '!'} {row['host_mb']:6.0f} "
        f"{row['all_mb']:7.0f}  {found['agent']['ended']}"
    )


if __name__ == "__main__":
    main()
