"""How many measurements a search saves that starts from what others have learned.

    python experiments/transfer.py                       # 6 networks, 1 thread
    python experiments/transfer.py --networks kws1 kws3 kws9

Each network is searched twice: from an empty store, and from a store in which all the other
networks were searched before, its own measurements left out. Reported: plans measured by each
search, the random plans among them, the primitives that it left out, for others had been faster in
all other networks, and the seconds that the board measured; the cost model's error on held-out
plans; and the time of the plan found with what was known over that of the plan found without, from
interleaved runs, with its 95 % interval (at 1 or below: nothing was lost).

Then each is searched on another board of the same kind, of which the store knows nothing but what
the first search of this network has learned: this machine again, held to one core (`--other`).

About 6 minutes a network on two quiet cores. Interrupted, the same command goes on: searches go on
from their stores in `--folder`; results/transfer.json is written after each network.
"""

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import held_out

NETWORKS = ("kws1", "kws3", "kws9", "squeezenet", "shufflenet-v2", "mobilenet-v2")
WAYS = ("alone", "knowing", "other board")
HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--board", default="local")
    parser.add_argument(
        "--other", default="taskset -c 0", help="begins commands on the other board"
    )
    parser.add_argument("--folder", type=Path, default=Path("transfer"))
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "transfer.json")
    asked = parser.parse_args()

    asked.folder.mkdir(exist_ok=True)
    alone = {}
    for network in asked.networks:
        if not (asked.folder / f"{network}.onnx").exists():
            held_out.example(network, asked.folder)
        alone[network] = search(network, f"{network}.db", f"{network}.alone.json", asked)
    rows = {}
    for network in asked.networks:
        others = [other for other in asked.networks if other != network]
        knowing(network, f"{network}.knowing.db", others, asked)
        found = search(network, f"{network}.knowing.db", f"{network}.knowing.json", asked)
        knowing(network, f"{network}.other.db", [network], asked)
        there = search(network, f"{network}.other.db", f"{network}.other.json", asked, asked.other)
        rows[network] = row = {
            "alone": figures(alone[network]),
            "knowing": figures(found),
            "other board": figures(there),
            "knowing_over_alone": paired(network, "knowing", asked),
            "other_board_over_alone": paired(network, "other", asked),
        }
        print(line(network, row), flush=True)
        write(asked.output, rows)


def search(network, store, plan, asked, before=""):
    done = asked.folder / f"{plan}.found"
    if not done.exists():
        words = ["search", f"{network}.onnx", "--engines", ",".join(held_out.ENGINES)]
        words += ["--threads", asked.threads, "--seed", asked.seed, "--board", asked.board]
        words += ["--store", store, "-o", plan, "--json"]
        done.write_text(run(asked.folder, *words, before=before), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def knowing(network, name, learners, asked):
    """A store with what the searches of some networks have learned, and nothing else."""
    path = asked.folder / name
    if path.exists():
        return
    draft = path.with_suffix(".draft")
    shutil.copy(asked.folder / f"{network}.db", draft)
    with sqlite3.connect(draft) as store:
        store.execute("DELETE FROM measurements")
        store.execute("DELETE FROM terms")
        for learner in learners:
            with sqlite3.connect(asked.folder / f"{learner}.db") as source:
                terms = source.execute("SELECT * FROM terms").fetchall()
            places = ", ".join("?" * len(terms[0]))
            store.executemany(f"INSERT INTO terms VALUES ({places})", terms)
    store.close()
    draft.rename(path)


def figures(found):
    return {
        "measurements": found["measurements"]["taken"] + found["measurements"]["cached"],
        "board_seconds": found["measurements"]["board_seconds"],
        "spared": found["measurements"]["spared"],
        "random_plans": found["cost_model"]["held_out_plans"],
        "error_mean": found["cost_model"]["error_mean"],
        "rounds": found["agent"]["rounds"],
        "prior_networks": found["cost_model"]["prior_networks"],
        "measured_ms": found["measured_ms"],
        "speedup_vs_best_uniform": found["speedup_vs_best_uniform"],
        "wall_s": found["wall_s"],
    }


def paired(network, which, asked):
    """Time of the plan found knowing over that of the other; 1 when they are equal."""
    plans = [f"{network}.alone.json", f"{network}.{which}.json"]
    layers = [json.loads((asked.folder / plan).read_text())["layers"] for plan in plans]
    if [la["primitive"] for la in layers[0]] == [la["primitive"] for la in layers[1]]:
        return {"ratio": 1.0, "ci95": [1.0, 1.0]}
    words = ["bench", *plans, "--board", asked.board, "--json"]
    content = json.loads(run(asked.folder, *words))
    other = content["subjects"][1]
    return {"ratio": other["ratio"], "ci95": other["ratio_ci95"]}


def run(folder, *words, before=""):
    command = [*before.split(), sys.executable, "-m", "qsdnn", *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def line(network, row):
    cells = []
    for way in WAYS:
        found, over = row[way], row.get(f"{way.replace(' ', '_')}_over_alone")
        text = f"{way} {found['measurements']} plans ({found['random_plans']} random"
        text += f", {len(found['spared'])} primitives spared), {found['board_seconds']:.0f} s"
        if over:
            low, high = over["ci95"]
            text += f", time / alone {over['ratio']:.3f} [{low:.3f}, {high:.3f}]"
        cells.append(text)
    return f"{network:14} " + "; ".join(cells)


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    total = {
        what: {way: sum(row[way][what] for row in rows.values()) for way in WAYS}
        for what in ("measurements", "board_seconds")
    }
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "total": total,
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
