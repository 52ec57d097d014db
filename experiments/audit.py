"""Is the plan that a search ends with the fastest, on a quiet machine and on a loaded one?

    python experiments/audit.py                                  # 15 networks, 3 loads
    python experiments/audit.py --networks convnext-atto --loads 0 2
    python experiments/audit.py --networks my_model.onnx --budget 1m
    python experiments/audit.py --table                          # only print the results again

For each network, and with none, one and two busy processes beside it (see busy.py): `qsdnn search`
with a short budget, on an empty store of its own. Then, the load ended and the machine quiet, its
plan is compared with others by `qsdnn bench`: nine processes, runs interleaved, nothing taken from
the search's store. The others are

- each engine that can run the network alone, bare;
- the best uniform plan of each engine, and each within 1.25 of the fastest;
- each uniform plan that the search itself lists within 1.25 of its best.

A quick look at each alone, on a quiet machine, once for each network, tells which those are; what
takes over 1.5 times as long as the fastest there is left out, but for bare onnxruntime, which is
always compared. Uniform plans equal to the plan found are left out too.

A winner is wrong where it takes over 2 % longer than another; than a bare engine, also over 20 µs
longer, which is what a session may cost. Then the two are compared once more by themselves, for
twice as long, and that is what counts; where its interval holds 1 the row is undecided, and is
taken again by the next run. When quiet no winner may be wrong, under load only one of which the
search said so: `trust` is not stable, or there is a `doubt`. The exit code is 1 where that is not
kept, a search failed, or a row is undecided.

Rows are written to results/audit.json as they come: interrupted, the same command goes on with
those that are missing; `--anew` begins again. About 50 minutes on two quiet cores, all 45 rows; how
long it may take is said before each row.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import held_out
import numpy as np
from busy import busy, quiet

from qsdnn.board import MeasureOptions, State, open_board
from qsdnn.errors import QsdnnError
from qsdnn.listener import Silent
from qsdnn.plan import Accuracy, Choice, Model, Plan, read_plan, write_plan
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.uniform import uniform_plans

NETWORKS = (
    *("kws9", "ds_kws1", "kws1", "tiny-transformer", "shufflenet-v2", "mobilenet-v3-small"),
    *("mobilenet-v2", "squeezenet", "efficientnet-b0", "convnext-atto", "googlenet"),
    *("resnet18", "densenet121", "resnet50", "vgg19"),
)
RESULTS = Path(__file__).parent / "results" / "audit.json"
WRONG = 0.02
SESSION_MS = 0.02
NEAR = 1.25
RACE = 1.5
QUIET = 0.15
CODE = ("qsdnn", "primitives", "runtime", "boards")

# Seconds that a row takes besides the search's and the comparison's budgets: starting, building,
# loading each plan in nine processes; for large networks measured, on two cores of an AMD EPYC.
AROUND_S = 14
MORE_S = {"googlenet": 5, "resnet18": 10, "densenet121": 15, "resnet50": 40, "vgg19": 150}
LOOK_S = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="examples, or files")
    parser.add_argument("--loads", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--pinned", action="store_true", help="each busy process on its core")
    parser.add_argument("--budget", type=float, default=30.0, metavar="S", help="of a search")
    parser.add_argument("--compare", type=float, default=6.0, metavar="S", help="of a comparison")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patience", type=float, default=60.0, metavar="S", help="to be quiet")
    parser.add_argument("--folder", type=Path, default=Path("runs/audit"))
    parser.add_argument("--anew", action="store_true", help="forget the results there are")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    rows = {} if asked.anew else read(asked.output)
    if not asked.table:
        todo = [(n, load) for n in asked.networks for load in asked.loads]
        todo = [(n, load) for n, load in todo if not decided(rows.get(key(n, load, asked)))]
        for done, (network, load) in enumerate(todo):
            rest_s = sum(estimate_s(n, asked, rows) for n, _ in todo[done:])
            print(f"{rest_s / 60:.0f} minutes left: {network} with {load} busy", file=sys.stderr)
            row = audit(network, load, asked)
            rows[key(network, load, asked)] = row
            print(line(row), flush=True)
            write(asked.output, rows)
    table(rows)
    if any(failed(row) for row in rows.values()):
        raise SystemExit(1)


def key(network, load, asked):
    """What makes a row another one."""
    pinned = ", pinned" if asked.pinned and load else ""
    threads = f", {asked.threads} threads" if asked.threads > 1 else ""
    return f"{Path(network).stem}, {load} busy{pinned}{threads}, {asked.budget:g} s"


def estimate_s(network, asked, rows):
    """As long as the last row of that network and budget took, or what is known of its size."""
    known = [r["wall_s"] for r in rows.values() if r["network"] == Path(network).stem]
    more_s = MORE_S.get(network, 0) + LOOK_S / len(asked.loads)
    return known[-1] if known else asked.budget + asked.compare + AROUND_S + more_s


def audit(network, load, asked):
    """One search under a load, and what its plan is worth without."""
    start_s = time.monotonic()
    name = Path(network).stem
    folder = asked.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / f"{name}.onnx"
    if Path(network).suffix == ".onnx":
        shutil.copy(network, model)
    elif not model.exists():
        qsdnn(folder, "example", network, "-o", model.name)
    seen = look(model, asked)
    row = {"network": name, "load": load, "pinned": asked.pinned, "commit": commit()}
    row |= {"budget_s": asked.budget, "threads": asked.threads}
    row["quiet_before"] = quiet(QUIET, asked.patience)
    with busy(load, pinned=asked.pinned):
        code, found, told = search(folder, model, load, asked)
    row["search"] = found if code == 0 else {"exit_code": code, "told": told[-1000:]}
    if code == 0:
        row["engines"] = engines_of(folder / f"plan-{load}.json")
        row["quiet_after"] = quiet(QUIET, asked.patience)
        row |= compare(folder, f"plan-{load}.json", subjects(folder, load, seen, found), asked)
    return {**row, "verdict": verdict(row), "wall_s": time.monotonic() - start_s}


def search(folder, model, load, asked):
    """Exit code, document and stderr of a search on an empty store."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"store-{load}.db{suffix}").unlink(missing_ok=True)
    plan = folder / f"plan-{load}.json"
    plan.unlink(missing_ok=True)
    words = [model.name, "--threads", asked.threads, "--budget", f"{asked.budget:g}s"]
    words += ["--store", f"store-{load}.db", "-o", plan.name, "--wait", "30m", "--json"]
    done = run(folder, "search", *words)
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else {}, done.stderr


# What it is compared with


def look(model, asked):
    """Milliseconds of each engine bare and of each uniform plan, by the subject's name for bench.

    Uniform plans are written as plan files. Each is measured alone, and not for long; the slower it
    may be than the fastest before it, the sooner it is given up.
    """
    path = model.parent / f"look-{asked.threads}.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["commit"] == commit():
            return known["latency_ms"]
    quiet(QUIET, asked.patience)
    built = model.parent / "built"
    shutil.rmtree(built, ignore_errors=True)
    built.mkdir()
    config = SearchConfig(model=model, threads=asked.threads)
    found = {}
    with open_board("local") as board, Store(str(built / "empty.db")) as store:
        board.care = type(board.care)(wait_s=1800.0)
        prepared = prepare(config, board, store, Silent(), built)
        bench = prepared.bench
        packages = bare_packages(bench, model)
        for name, choice in uniform_plans(bench.space).items():
            primitives = [bench.space.primitives[p] for p in choice]
            file = f"uniform-{name.replace('/', '-')}.json"
            write_plan(plan_of(prepared, model, primitives, asked), model.parent / file)
            packages[file] = bench.builder.build(primitives)
        reference = bench.measurer.reference()
        for name, package in packages.items():
            fastest = min(filter(None, found.values()), default=1000.0)
            options = MeasureOptions(
                threads=asked.threads,
                warmup=1,
                min_runs=3,
                max_runs=25,
                precision=0.0,
                budget_s=0.5,
                timeout_s=max(10.0, fastest / 20),
                again=0,
            )
            record = board.measure([package], reference, options)[0]
            found[name] = float(np.min(record.runs_ms)) if record.state is State.OK else None
    content = {"commit": commit(), "latency_ms": found}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return found


def bare_packages(bench, model):
    """Of the engines that can run the network alone."""
    packages = {}
    for engine in bench.measurer.info.engines:
        try:
            packages[f"{model.name}@{engine}"] = bench.builder.bare(engine)
        except QsdnnError:
            continue
    return packages


def plan_of(prepared, model, primitives, asked):
    """A plan file's content: what was chosen; nothing was measured."""
    graph, info = prepared.graph, prepared.bench.measurer.info
    layers = zip(prepared.bench.space.layers, primitives, strict=True)
    engines = sorted({primitive.engine for primitive in primitives})
    return Plan(
        model=Model(path=model.name, sha256=graph.sha256),
        board={"name": info.name, "fingerprint": info.fingerprint},
        engines={engine: info.engines[engine].version for engine in engines},
        threads=asked.threads,
        layers=tuple(Choice(name=name, primitive=str(primitive)) for name, primitive in layers),
        predicted_ms=0.0,
        measured_ms=0.0,
        ci95_ms=(0.0, 0.0),
        trust="noisy",
        baselines=(),
        accuracy=Accuracy(metric="max_relative_error", reference=0.0, plan=None, drop=None),
        seed=0,
        command="",
        interim=True,
    )


def subjects(folder, load, seen, found):
    """Whom the plan has to beat, the fastest of the quick look first."""
    fastest = min(filter(None, seen.values()))
    kept = {name for name in seen if name.endswith("@onnxruntime")}
    uniform = sorted((ms, n) for n, ms in seen.items() if ms and n.endswith(".json"))
    best_of = {}
    for ms, name in uniform:
        best_of.setdefault(name.split("-")[1], (ms, name))
    kept |= {name for ms, name in best_of.values() if ms <= RACE * fastest}
    kept |= {name for ms, name in uniform if ms <= NEAR * fastest}
    kept |= {n for n, ms in seen.items() if "@" in n and ms and ms <= RACE * fastest}
    listed = {b["name"]: b["measured_ms"] for b in found["baselines"] if b["measured_ms"]}
    near = [name for name, ms in listed.items() if ms <= NEAR * min(listed.values())]
    kept |= {file for name in near if (file := f"uniform-{name.replace('/', '-')}.json") in seen}
    mine = choice_of(folder / f"plan-{load}.json")
    ordered = sorted(kept, key=lambda name: seen[name] or float("inf"))
    return [n for n in ordered if "@" in n or choice_of(folder / n) != mine]


def choice_of(path):
    return [choice.primitive for choice in read_plan(path).layers]


def engines_of(path):
    """Layers on each engine."""
    names = [primitive.split("/")[0] for primitive in choice_of(path)]
    return {name: names.count(name) for name in dict.fromkeys(names)}


# The comparison


def compare(folder, plan, others, asked):
    """The plan against others; again with the best of them where that is clearly faster."""
    first = bench(folder, [plan, *others], asked.compare)
    best = min(first[1:], key=lambda other: (not slower(first[0], other), other["ratio"]))
    row = {"compared": first}
    if slower(first[0], best):
        row["again"] = again = bench(folder, [plan, best["name"]], 2 * asked.compare)
        best = again[1]
    row |= {name: best[name] for name in ("ratio", "ratio_ci95")}
    return row | {"best": best["name"], "slower": slower(first[0], best)}


def bench(folder, names, budget_s):
    words = [*names, "--budget", f"{budget_s:g}s", "--min-runs", "18", "--wait", "30m", "--json"]
    return json.loads(qsdnn(folder, "bench", *words))["subjects"]


def slower(plan, other):
    """Whether the plan is, by more than is allowed."""
    more_ms = plan["measured_ms"] * (1 - other["ratio"])
    allowed_ms = SESSION_MS if "@" in other["name"] else 0.0
    return 1 / other["ratio"] - 1 > WRONG and more_ms > allowed_ms


def verdict(row):
    if "slower" not in row:
        return "failed"
    if not row["slower"]:
        return "right"
    if row["ratio_ci95"][1] >= 1:
        return "undecided"
    found = row["search"]
    return "wrong, said" if found["trust"] != "stable" or found["doubt"] else "wrong"


def decided(row):
    return row is not None and row["verdict"] not in ("undecided", "failed")


def failed(row):
    said = row["verdict"] == "wrong, said" and row["load"]
    return row["verdict"] != "right" and not said


# What is said of it


def table(rows):
    print()
    print(HEAD)
    for row in rows.values():
        print(line(row))
    count = {v: sum(r["verdict"] == v for r in rows.values()) for v in VERDICTS}
    print(", ".join(f"{n} {v}" for v, n in count.items()), end="; ")
    stable = [r for r in rows.values() if r["search"].get("trust") == "stable"]
    print(f"{len(stable)} said to be stable, {sum(r['load'] > 0 for r in stable)} under load")
    commits = {row["commit"] for row in rows.values()}
    if len(commits) > 1:
        print(f"rows are of {len(commits)} commits: {', '.join(sorted(commits))}")
    restless = [r for r in rows.values() if max(quiet_of(r)) > QUIET]
    if restless:
        print(f"* {len(restless)} rows: something else ran when nothing should have")


VERDICTS = ("right", "wrong, said", "wrong", "undecided", "failed")
HEAD = (
    f"{'network':18} busy  {'plan':>9}  {'best other':32} {'plan / other':22} "
    f"{'claimed':>8} {'search':>7} {'trust':9} verdict"
)


def quiet_of(row):
    return [row["quiet_before"], row.get("quiet_after", 0.0)]


def line(row):
    name = row["network"] + ("*" if max(quiet_of(row)) > QUIET else "")
    start = f"{name:18} {row['load']:4}"
    if "ratio" not in row:
        return f"{start}  {row['verdict']}: {row['search']['told'].strip().splitlines()[-1]}"
    found, low, high = row["search"], *(1 / bound for bound in reversed(row["ratio_ci95"]))
    ratio = f"{1 / row['ratio']:.3f} [{low:.3f}, {high:.3f}]"
    other = row["best"].removeprefix("uniform-").removesuffix(".json")
    trust = found["trust"] + ("!" if found["doubt"] else "")
    claimed = found["best_single"]["speedup"] if found["best_single"] else 1.0
    return (
        f"{start}  {row['compared'][0]['measured_ms']:9.3f}  {other:32} {ratio:22} "
        f"{claimed:8.3f} {found['wall_s']:6.0f}s {trust:9} "
        f"{row['verdict'].upper() if failed(row) else row['verdict']}"
    )


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = {"command": " ".join(["python", *sys.argv]), "machine": held_out.machine()}
    path.write_text(json.dumps({**content, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def commit():
    """Of the code that is audited; with a + where it was changed since."""
    here = {"cwd": Path(__file__).parents[1], "capture_output": True, "text": True, "check": False}
    name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **here).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "--", *CODE], **here).stdout
    return name + ("+" if changed else "")


def qsdnn(folder, *words):
    """Standard output of a command that must succeed."""
    done = run(folder, *words)
    if done.returncode:
        raise SystemExit(f"qsdnn {' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


def run(folder, *words):
    command = [sys.executable, "-m", "qsdnn", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main()
