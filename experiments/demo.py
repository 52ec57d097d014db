"""How long does `make demo` take on a new machine, quiet and beside one busy process?

    python experiments/demo.py                # none and one busy
    python experiments/demo.py --loads 1

The committed tree is cloned into a folder of its own and set up there (`make .venv/demo.done`,
which installs all it needs), then `make demo` runs, both beside the load. Afterwards, without it,
the plan is held against each engine bare by `qsdnn bench`. Set-up is to take 80 s at most, both
together 3 minutes, and the plan may not be over 2 % slower than an engine unless its trust is not
stable. Writes results/demo.json; about 8 minutes. The exit code is 1 where one of that is not so.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from audit import bench, commit, slower, write
from busy import busy, quiet

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "demo.json"
SETUP_S, ALL_S = 80.0, 180.0
NETWORK = "shufflenet"
ENGINES = ("onnxruntime", "openvino", "ncnn")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", nargs="+", type=int, default=(0, 1))
    parser.add_argument("--patience", type=float, default=60.0, metavar="S", help="to be quiet")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    rows = {}
    for load in asked.loads:
        rows[f"{load} busy"] = row = demo(load, asked)
        print(line(row), flush=True)
        write(asked.output, rows)
    if any(row["wrong"] or row["late"] for row in rows.values()):
        raise SystemExit(1)


def demo(load, asked):
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "qsdnn"
        subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
        before = quiet(patience_s=asked.patience)
        with busy(load):
            setup_s = make(clone, ".venv/demo.done")[0]
            demo_s, told = make(clone, "demo")
        quiet(patience_s=asked.patience)
        names = ["demo/plan.json", *(f"demo/{NETWORK}.onnx@{engine}" for engine in ENGINES)]
        compared = bench(clone, names, 10)
        plan = json.loads((clone / "demo/plan.json").read_text(encoding="utf-8"))
    best = min(compared[1:], key=lambda other: other["ratio"])
    return {
        "load": load,
        "commit": commit(),
        "quiet_before": before,
        "setup_s": setup_s,
        "demo_s": demo_s,
        "late": setup_s > SETUP_S or setup_s + demo_s > ALL_S,
        "trust": plan["trust"],
        "compared": compared,
        "best": best["name"],
        "ratio": best["ratio"],
        "ratio_ci95": best["ratio_ci95"],
        "wrong": slower(compared[0], best) and plan["trust"] == "stable",
        "told": told.splitlines(),
    }


def make(clone, target):
    """Seconds, and what was printed. With make's own settings, and no store or cache of ours."""
    start_s = time.monotonic()
    done = subprocess.run(["make", target], cwd=clone, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"make {target}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - start_s, done.stdout


def line(row):
    low, high = (1 / bound for bound in reversed(row["ratio_ci95"]))
    return (
        f"{row['load']} busy: set-up {row['setup_s']:.0f} s, demo {row['demo_s']:.0f} s, together "
        f"{row['setup_s'] + row['demo_s']:.0f} s{' (late)' if row['late'] else ''}; "
        f"plan / {row['best']} {1 / row['ratio']:.3f} [{low:.3f}, {high:.3f}], said to be "
        f"{row['trust']}{', which is wrong' if row['wrong'] else ''}"
    )


if __name__ == "__main__":
    main()
